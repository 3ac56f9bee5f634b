/**
 * Asks one address whether somebody is there: a mesh ping to an agent, or a PING to a server of the legacy protocol. The
 * connection stays open from round to round, so that a round is one small frame each way; an address that gives no
 * answer in time is connected to anew. Used by the watcher, one for each address.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { encodeFrame, FrameType } from '../protocol/frame.js';
import { FrameParser } from '../protocol/frame-parser.js';
import { encodeHeader } from '../protocol/header.js';

/** How an address is asked. */
export type ProbeKind = 'mesh' | 'legacy';

/** Longer answers to a legacy PING are none. */
const MAX_LINE_BYTES = 1_024;
const legacyPing = '*1\r\n$4\r\nPING\r\n';

/** See the file's head. */
export class Probe {
  #socket: Socket | null = null;
  #answered: (alive: boolean) => void = () => undefined;
  #nextId = 1;

  constructor(
    private readonly host: string,
    private readonly port: number,
    private readonly kind: ProbeKind,
  ) {}

  /** Whether an answer came within `timeoutMs`. One question at a time. */
  ask(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#answered(false), timeoutMs);
      this.#answered = (alive) => {
        this.#answered = () => undefined;
        clearTimeout(timer);
        if (!alive) this.close();
        resolve(alive);
      };
      this.#socket ??= this.#connect();
      this.#socket.write(this.kind === 'legacy' ? legacyPing : this.#meshPing());
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #meshPing(): Buffer {
    return encodeFrame({ type: FrameType.ping, idLo: (this.#nextId = (this.#nextId % 0xffff_fffe) + 1) });
  }

  #connect(): Socket {
    const socket = connect({ host: this.host, port: this.port, noDelay: true });
    const ended = (): void => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#answered(false);
    };
    socket.on('error', ended).on('close', ended);
    if (this.kind === 'mesh') this.#readMesh(socket);
    else this.#readLegacy(socket);
    return socket;
  }

  #readMesh(socket: Socket): void {
    const parser = new FrameParser();
    const hello = encodeHeader({ sourceApp: 'ringside-watcher' });
    socket.write(encodeFrame({ type: FrameType.hello, header: hello }));
    socket.on('data', (bytes: Buffer) => {
      const problem = parser.push(bytes, ({ type, idLo, idHi }) => {
        if (type === FrameType.ping) socket.write(encodeFrame({ type: FrameType.pong, idLo, idHi }));
        // An answer to an earlier question came too late to count.
        if (type === FrameType.pong && idLo === this.#nextId) this.#answered(true);
      });
      if (problem !== undefined) socket.destroy();
    });
  }

  #readLegacy(socket: Socket): void {
    let line = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      line += text;
      if (line.length > MAX_LINE_BYTES) socket.destroy();
      else if (line.endsWith('\r\n')) {
        // A server that is asked for a password is there, too.
        const alive = /^(\+PONG|-NOAUTH)/i.test(line);
        line = '';
        this.#answered(alive);
      }
    });
  }
}
