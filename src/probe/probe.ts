/**
 * Asks one address whether somebody is there: a mesh ping to an agent, a PING to a server of the legacy protocol, or only a
 * connection. The connection of a ping stays open from round to round, so that a round is one small frame each way; an address
 * that gives no answer in time is connected to anew. Used by the watcher for registered instances, and by the agent for the
 * programs it publishes.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { errorText } from '../base/errors.js';
import { encodeFrame, FrameType } from '../protocol/frame.js';
import { FrameParser } from '../protocol/frame-parser.js';
import { encodeHeader } from '../protocol/header.js';

/** How an address is asked. */
export type ProbeKind = 'mesh-ping' | 'legacy-ping' | 'tcp';

/** What is asked: a TCP address, or a unix socket. */
export type ProbedAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Longer answers to a legacy PING are none. */
const MAX_LINE_BYTES = 1_024;
const legacyPing = '*1\r\n$4\r\nPING\r\n';

/** See the file's head. */
export class Probe {
  #socket: Socket | null = null;
  #answered: (problem?: string) => void = () => undefined;
  #nextId = 1;

  constructor(
    private readonly address: ProbedAddress,
    private readonly kind: ProbeKind,
    /** What it calls itself where it has to say a name. */
    private readonly name: string,
  ) {}

  /**
   * Resolves when an answer came, or after `timeoutMs`. One question at a time.
   * @returns what is wrong, in words; undefined if nothing is
   */
  ask(timeoutMs: number): Promise<string | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#answered(`no answer within ${timeoutMs} ms`), timeoutMs);
      this.#answered = (problem) => {
        this.#answered = () => undefined;
        clearTimeout(timer);
        if (problem !== undefined || this.kind === 'tcp') this.close();
        resolve(problem);
      };
      this.#socket ??= this.#connect();
      if (this.kind !== 'tcp')
        this.#socket.write(this.kind === 'legacy-ping' ? legacyPing : this.#meshPing());
    });
  }

  /** Ends the connection; a question under way is answered as without one. */
  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
    this.#answered('the probe was ended');
  }

  #meshPing(): Buffer {
    return encodeFrame({ type: FrameType.ping, idLo: (this.#nextId = (this.#nextId % 0xffff_fffe) + 1) });
  }

  #connect(): Socket {
    const socket = connect({ ...this.address, noDelay: true });
    const ended = (problem: string): void => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#answered(problem);
    };
    socket.on('error', (error) => ended(errorText(error)));
    socket.on('close', () => ended('it closed the connection'));
    if (this.kind === 'mesh-ping') this.#readMesh(socket);
    else if (this.kind === 'legacy-ping') this.#readLegacy(socket);
    else socket.on('connect', () => this.#answered());
    return socket;
  }

  #readMesh(socket: Socket): void {
    const parser = new FrameParser();
    socket.write(encodeFrame({ type: FrameType.hello, header: encodeHeader({ sourceApp: this.name }) }));
    let leaving = false;
    socket.on('data', (bytes: Buffer) => {
      const problem = parser.push(bytes, ({ type, idLo, idHi, header }) => {
        if (type === FrameType.ping) socket.write(encodeFrame({ type: FrameType.pong, idLo, idHi }));
        if (type === FrameType.goAway) {
          socket.write(encodeFrame({ type: FrameType.goAwayAck, idLo, idHi }));
          // One with a header is about one service.
          leaving ||= header.length === 0;
        }
        // An answer to an earlier question came too late to count.
        if (type === FrameType.pong && idLo === this.#nextId) {
          this.#answered(leaving ? 'it is going away' : undefined);
        }
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
        this.#answered(alive ? undefined : 'its answer to PING is not PONG');
      }
    });
  }
}
