// A server of the legacy protocol as old fleets run them: takes GETs, one at a time on each connection, and answers with ec, em, result. Written
// without any code of the project's, so that what it reads and writes is what an old server would.
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { steadyPort } from './steady-port.js';

export interface OldRequest {
  action: string;
  params: { m: string; args: unknown[] };
  props?: Record<string, string>;
}
type Answer = { ec: number; em: string; result?: unknown };

/** See the file's head. */
export class OldServer {
  readonly requests: OldRequest[] = [];
  readonly connections = new Set<Socket>();
  /** Requests under way on one connection at the same moment, at most. */
  mostAtOnce = 0;
  /** Takes connections and answers nothing, as a process that hangs. */
  silent = false;
  /** Writes each answer in two pieces, a moment apart. */
  inPieces = false;
  /** Connections so far. */
  accepted = 0;

  private constructor(
    private readonly server: Server,
    private readonly handle: (request: OldRequest) => Answer | Promise<Answer>,
  ) {
    server.on('connection', (socket) => this.#serve(socket));
  }

  /** @param at a port of this machine, or the path of a unix socket */
  static async start(
    handle: (request: OldRequest) => Answer | Promise<Answer>,
    at: number | string = steadyPort(),
  ): Promise<OldServer> {
    const server = createServer();
    const old = new OldServer(server, handle);
    const where = typeof at === 'string' ? { path: at } : { port: at, host: '127.0.0.1' };
    await new Promise<void>((resolve) => server.listen(where, resolve));
    return old;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.connections) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.connections.add(socket);
    this.accepted += 1;
    let bytes = Buffer.alloc(0);
    let underWay = 0;
    socket.on('close', () => this.connections.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (this.silent) return;
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        const head = /^\*(\d+)\r\n\$\d+\r\n(\w+)\r\n(?:\$(\d+)\r\n)?/.exec(bytes.toString('latin1', 0, 64));
        if (head === null) return;
        const [whole, , command = '', length] = head;
        if (length === undefined) {
          bytes = bytes.subarray(whole.length);
          socket.write(command.toUpperCase() === 'PING' ? '+PONG\r\n' : '-ERR unknown command\r\n');
          continue;
        }
        const end = whole.length + Number(length);
        if (bytes.length < end + 2) return;
        const request = JSON.parse(bytes.toString('utf8', whole.length, end)) as OldRequest;
        bytes = bytes.subarray(end + 2);
        this.requests.push(request);
        underWay += 1;
        this.mostAtOnce = Math.max(this.mostAtOnce, underWay);
        void Promise.resolve(this.handle(request)).then((answer) => {
          underWay -= 1;
          const json = JSON.stringify(answer);
          const reply = Buffer.from(`$${Buffer.byteLength(json)}\r\n${json}\r\n`);
          const first = this.inPieces ? reply.length - 7 : reply.length;
          socket.write(reply.subarray(0, first));
          if (first < reply.length) setImmediate(() => socket.write(reply.subarray(first)));
        });
      }
    });
  }
}
