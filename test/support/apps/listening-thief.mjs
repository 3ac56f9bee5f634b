// Listens at a path or a port of the loopback interface and answers nothing. When it is ended it says how many bytes it was told.
import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';

const [at] = process.argv.slice(2);
let heard = 0;
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => (heard += bytes.length));
});
server.listen(at.startsWith('/') ? { path: at } : { port: Number(at), host: '127.0.0.1' }, () => {
  if (at.startsWith('/')) chmodSync(at, 0o666);
  process.send({ listens: true });
});
process.once('SIGTERM', () => {
  process.stdout.write(`heard ${heard}\n`, () => process.exit(0));
});
