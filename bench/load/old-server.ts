// A server as old fleets run them: GETs of JSON come in, answered in order with the arguments as the result. Reports its port over the channel.
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** The parts of the command that begins at `at`, and where it ends; undefined while it is not there whole. */
function command(bytes: Buffer, at: number): { parts: string[]; end: number } | undefined {
  const line = (from: number): [number, number] | undefined => {
    const end = bytes.indexOf('\r\n', from);
    return end < 0 ? undefined : [Number(bytes.toString('latin1', from + 1, end)), end + 2];
  };
  const head = line(at);
  if (head === undefined) return undefined;
  let [count, end] = head;
  const parts: string[] = [];
  for (; count > 0; count--) {
    const part = line(end);
    if (part === undefined || bytes.length < part[1] + part[0] + 2) return undefined;
    parts.push(bytes.toString('utf8', part[1], part[1] + part[0]));
    end = part[1] + part[0] + 2;
  }
  return { parts, end };
}

function reply([name = '', json = '']: readonly string[]): string {
  if (name.toUpperCase() === 'PING') return '+PONG\r\n';
  if (name.toUpperCase() !== 'GET') return '-ERR unknown command\r\n';
  const { params } = JSON.parse(json) as { params: { args: unknown } };
  const answer = JSON.stringify({ ec: 200, em: '', result: params.args });
  return `$${Buffer.byteLength(answer)}\r\n${answer}\r\n`;
}

/** Answers every whole command in `bytes` and returns what is left. */
function answer(bytes: Buffer, socket: Socket): Buffer {
  let replies = '';
  let at = 0;
  for (let next = command(bytes, at); next !== undefined; next = command(bytes, at)) {
    replies += reply(next.parts);
    at = next.end;
  }
  if (replies !== '') socket.write(replies);
  return bytes.subarray(at);
}

const server = createServer({ noDelay: true }, (socket) => {
  let waiting = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    waiting = Buffer.from(answer(Buffer.concat([waiting, chunk]), socket));
  });
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
