// A client of the legacy protocol as plain as it can be: one connection, commands sent without waiting for earlier replies, replies taken in
// order. Written without any code of the project's. It never connects again: its end is an end that a test sees.
import { connect } from 'node:net';
import type { Socket } from 'node:net';

export interface OldAnswer {
  ec: number;
  em: string;
  result: unknown;
}

export interface OldLoad {
  sent: number;
  /** Answers that were not those to what was asked, or failures. */
  wrong: string[];
}

/** The JSON of a call. */
export function oldRequest(action: string, m: string, args: unknown[] = []): string {
  return JSON.stringify({ action, params: { m, args } });
}

/** Of what is sent, kept back for a moment. */
const heldBytes = 9;

/** See the file's head. */
export class OldClient {
  /** Why the connection ended, if it did. */
  ended: string | undefined;
  readonly #waiting: ((text: string) => void)[] = [];
  #bytes: Buffer = Buffer.alloc(0);
  #held: Buffer = Buffer.alloc(0);
  #loads: { stop: boolean; done: Promise<void>; summary: OldLoad }[] = [];

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => (this.ended ??= error.message));
    socket.on('close', () => (this.ended ??= 'closed'));
  }

  static async start(port: number, host = '127.0.0.1'): Promise<OldClient> {
    const socket = connect(port, host);
    socket.setNoDelay();
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new OldClient(socket);
  }

  /** Sends one call; its last bytes a moment later, so that the agent often has read half a command. */
  async call(...what: Parameters<typeof oldRequest>): Promise<OldAnswer> {
    const json = oldRequest(...what);
    const bytes = Buffer.from(`*2\r\n$3\r\nGET\r\n$${Buffer.byteLength(json)}\r\n${json}\r\n`);
    const text = new Promise<string>((resolve) => this.#waiting.push(resolve));
    this.#send(bytes);
    return JSON.parse(await text) as OldAnswer;
  }

  /** Calls `echo` of a service until endLoad(), `inFlight` at a time. */
  startLoad(service: string, prefix: string, inFlight: number): OldLoad {
    const summary: OldLoad = { sent: 0, wrong: [] };
    const load = { stop: false, done: Promise.resolve(), summary };
    const caller = async (): Promise<void> => {
      while (!load.stop) {
        const id = `${prefix}${summary.sent++}`;
        const { ec, em, result } = await this.call(service, 'echo', [id]);
        if (ec !== 200 || JSON.stringify(result) !== JSON.stringify([id]))
          summary.wrong.push(`${id}: ${ec} ${em} ${JSON.stringify(result)}`);
      }
    };
    load.done = Promise.all(Array.from({ length: inFlight }, caller)).then(() => undefined);
    this.#loads.push(load);
    return summary;
  }

  /** Ends the loads when what is under way is answered, and the connection. */
  async end(): Promise<void> {
    for (const load of this.#loads) load.stop = true;
    await Promise.all(this.#loads.map(({ done }) => done));
    this.socket.destroy();
  }

  #send(bytes: Buffer): void {
    const all = Buffer.concat([this.#held, bytes]);
    if (this.#held.length === 0) {
      setImmediate(() => {
        this.socket.write(this.#held);
        this.#held = Buffer.alloc(0);
      });
    }
    const now = all.length - heldBytes;
    this.socket.write(all.subarray(0, now));
    this.#held = all.subarray(now);
  }

  #take(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const end = this.#bytes.indexOf('\r\n');
      if (end < 0) return;
      const head = this.#bytes.toString('latin1', 0, end);
      const length = head.startsWith('$') ? Number(head.slice(1)) : -1;
      const whole = end + 2 + (length < 0 ? 0 : length + 2);
      if (this.#bytes.length < whole) return;
      const text = length < 0 ? head : this.#bytes.toString('utf8', end + 2, whole - 2);
      this.#bytes = this.#bytes.subarray(whole);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.ended ??= `a reply to nothing: ${text}`;
      else waiting(text);
    }
  }
}
