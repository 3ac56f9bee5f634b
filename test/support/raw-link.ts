// A bare connection to an agent that speaks frames as the test says: for what no SDK would send, and for fields that it always
// fills in.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { FrameType, encodeFrame } from '../../src/protocol/frame.js';
import type { Frame, FrameFields } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { inTime, patienceMs } from './until.js';

/** See the file's head. */
export class RawLink {
  readonly frames: Frame[] = [];
  /** Why what came is no frames. */
  problem: string | undefined;
  readonly socket: Socket;
  /** Resolves when the other side has ended the connection. */
  readonly ended: Promise<void>;
  readonly #waiters = new Set<() => void>();

  /** @param where path of a unix socket, or a port on 127.0.0.1 */
  constructor(where: string | number) {
    this.socket =
      typeof where === 'string' ? connect({ path: where }) : connect({ host: '127.0.0.1', port: where });
    const parser = new FrameParser();
    this.socket.on('data', (chunk: Buffer) => {
      this.problem ??= parser.push(chunk, (frame) => this.frames.push(frame));
      for (const look of [...this.#waiters]) look();
    });
    this.ended = new Promise((resolve) => {
      this.socket.on('error', () => undefined);
      this.socket.on('close', () => resolve());
    });
  }

  /** Connects and says hello as an application that wants no rings. */
  static hello(where: string | number, fields: Partial<FrameFields> = {}): RawLink {
    const link = new RawLink(where);
    link.send({ type: FrameType.hello, header: encodeHeader({ sourceApp: 'raw' }), ...fields });
    return link;
  }

  send(fields: FrameFields): void {
    this.socket.write(encodeFrame(fields));
  }

  request(service: string, method: string, fields: Partial<FrameFields> = {}): void {
    this.send({ type: FrameType.request, idLo: 1, header: encodeHeader({ service, method }), ...fields });
  }

  /** The first frame of a type, when it has come. */
  frame(type: number): Promise<Frame> {
    let look = (): void => undefined;
    const came = new Promise<Frame>((resolve) => {
      look = () => {
        const found = this.frames.find((frame) => frame.type === type);
        if (found) resolve(found);
      };
      this.#waiters.add(look);
      look();
    });
    return inTime(`a frame of type ${type}`, came, patienceMs, () => this.problem ?? '').finally(() =>
      this.#waiters.delete(look),
    );
  }

  close(): void {
    this.socket.destroy();
  }
}
