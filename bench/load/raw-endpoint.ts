// The sanity line: Node's own sockets with a length of four bytes before each message, answers in the order of the requests, and
// nothing else. What any protocol in Node could at best come down to.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { splitAddress } from './endpoint.js';
import type { Endpoint } from './endpoint.js';

const lengthBytes = 4;

function send(socket: Socket, body: Buffer): void {
  const message = Buffer.allocUnsafe(lengthBytes + body.length);
  message.writeUInt32LE(body.length, 0);
  body.copy(message, lengthBytes);
  socket.write(message);
}

/** Calls `onMessage` for each message on a socket; the buffer is valid during the call only. */
function receive(socket: Socket, onMessage: (body: Buffer) => void): void {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let neededBytes = lengthBytes;
  socket.on('data', (chunk: Buffer) => {
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes < neededBytes) return;
    const bytes = waiting.length === 1 ? chunk : Buffer.concat(waiting);
    let at = 0;
    for (;;) {
      neededBytes = lengthBytes;
      if (bytes.length - at < neededBytes) break;
      neededBytes += bytes.readUInt32LE(at);
      if (bytes.length - at < neededBytes) break;
      onMessage(bytes.subarray(at + lengthBytes, at + neededBytes));
      at += neededBytes;
    }
    waiting = at < bytes.length ? [bytes.subarray(at)] : [];
    waitingBytes = bytes.length - at;
  });
}

export const rawEndpoint: Endpoint = {
  async serve() {
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      receive(socket, (body) => send(socket, body));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  },

  async connect({ address }) {
    const socket = connect({ ...splitAddress(address), noDelay: true });
    await once(socket, 'connect');
    const waiting: { resolve: (bytes: number) => void; reject: (error: Error) => void }[] = [];
    receive(socket, (body) => waiting.shift()?.resolve(body.length));
    let lost: Error | undefined;
    socket.on('error', (error) => (lost = error));
    socket.on('close', () => {
      lost ??= new Error('the connection was closed');
      for (const { reject } of waiting.splice(0)) reject(lost);
    });
    return (body) =>
      new Promise((resolve, reject) => {
        if (lost !== undefined) return reject(lost);
        waiting.push({ resolve, reject });
        send(socket, body);
      });
  },
};
