// A TCP proxy in plain Node, as short as it can be: what the JavaScript half of any proxy costs. Arguments: port to listen on, host and
// port to connect to.
import { connect, createServer } from 'node:net';

const [listenPort, host, port] = process.argv.slice(2);

createServer({ noDelay: true }, (near) => {
  const far = connect({ host: host as string, port: Number(port), noDelay: true });
  near.pipe(far);
  far.pipe(near);
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.on('close', () => far.destroy());
  far.on('close', () => near.destroy());
}).listen(Number(listenPort), '127.0.0.1');
