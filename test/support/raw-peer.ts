// A peer that speaks frames and nothing else, for tests that must do what no SDK does: withhold credit, break rules, die
// in the middle. It records what comes, and waitFor() lets tests wait for an event instead of sleeping.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Flag, FrameType, encodeFrame, readFrame } from '../../src/protocol/frame.js';
import type { Frame, FrameFields } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { decodeHeader, encodeHeader } from '../../src/protocol/header.js';
import { Waiters } from './waiters.js';

/** A frame whose bytes stay as they are. */
export function keepFrame(frame: Frame): Frame {
  return readFrame(Buffer.from(frame.bytes.subarray(frame.headerStart - 32, frame.bodyEnd)), 0);
}

export class RawPeer {
  readonly frames: Frame[] = [];
  closed = false;
  readonly #waiters = new Waiters();
  #lastPing = 1_000_000;

  constructor(readonly socket: Socket) {
    const parser = new FrameParser();
    socket.on('data', (bytes: Buffer) => {
      const problem = parser.push(bytes, (frame) => this.frames.push(keepFrame(frame)));
      if (problem !== undefined) socket.destroy(new Error(problem));
      this.#waiters.look();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.#waiters.look();
    });
  }

  /** Connects to a server in direct mode, and is welcome. */
  static async connect(address: string): Promise<RawPeer> {
    const [host, port] = address.split(':');
    const peer = new RawPeer(connect(Number(port), host));
    peer.send({ type: FrameType.hello });
    await peer.next(FrameType.welcome);
    return peer;
  }

  send(...frames: FrameFields[]): void {
    this.socket.write(Buffer.concat(frames.map(encodeFrame)));
  }

  /** Resolves with the first answer of `check` that is neither undefined nor false; it is asked on every event. */
  waitFor<T>(check: () => T | undefined | false): Promise<T> {
    return this.#waiters.waitFor(check);
  }

  of(type: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type);
  }

  /** The `nth` frame of a type, when it is there. */
  next(type: number, nth = 0): Promise<Frame> {
    return this.waitFor(() => this.of(type)[nth]);
  }

  /** The response to a request, when its first frame is there. */
  response(idLo: number): Promise<Frame> {
    return this.waitFor(() => this.of(FrameType.response).find((frame) => frame.idLo === idLo));
  }

  /** Resolves when the other side has read everything sent before, and what it wrote about it has come. */
  async settled(): Promise<void> {
    // Twice, because a pong overtakes the pieces of streams that leave in the same turn.
    for (let times = 0; times < 2; times += 1) {
      const idLo = (this.#lastPing += 1);
      this.send({ type: FrameType.ping, idLo });
      await this.waitFor(() => this.of(FrameType.pong).some((pong) => pong.idLo === idLo));
    }
  }

  /** Body bytes that came for one id: of the request, or of its response. */
  bodyBytes(idLo: number, reply: boolean): number {
    return this.frames
      .filter((frame) => frame.idLo === idLo)
      .filter(({ type, flags }) =>
        type === FrameType.chunk
          ? ((flags & Flag.reply) !== 0) === reply
          : type === (reply ? FrameType.response : FrameType.request),
      )
      .reduce((sum, { body }) => sum + body.length, 0);
  }
}

/** Listens like a server in direct mode: says welcome, and leaves the rest to the test. */
export class RawServer {
  readonly peers: RawPeer[] = [];
  readonly #server: Server;
  readonly #waiters: ((peer: RawPeer) => void)[] = [];

  private constructor() {
    this.#server = createServer((socket) => void this.#accept(socket));
  }

  static async listen(): Promise<RawServer> {
    const raw = new RawServer();
    await new Promise<void>((resolve) => raw.#server.listen(0, '127.0.0.1', resolve));
    return raw;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next peer that connects, or the one that did. */
  peer(): Promise<RawPeer> {
    const peer = this.peers[0];
    return peer === undefined ? new Promise((resolve) => this.#waiters.push(resolve)) : Promise.resolve(peer);
  }

  async close(): Promise<void> {
    for (const peer of this.peers) peer.socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #accept(socket: Socket): Promise<void> {
    const peer = new RawPeer(socket);
    await peer.next(FrameType.hello);
    peer.send({ type: FrameType.welcome });
    this.peers.push(peer);
    for (const found of this.#waiters.splice(0)) found(peer);
  }
}

/** The text that a frame states with its status. */
export function statusText(frame: Frame): string {
  return decodeHeader(frame.header).statusMessage;
}

/** The beginning of a request of `totalBytes`. */
export function firstPiece(
  idLo: number,
  method: string,
  totalBytes: number,
  body: Uint8Array,
  timeoutMs = 10_000,
): FrameFields {
  const header = encodeHeader({ service: 's', method });
  return { type: FrameType.request, flags: Flag.more, idLo, value: totalBytes, header, body, timeoutMs };
}

/** A chunk of a request's body, or of a reply's. */
export function chunk(idLo: number, body: Uint8Array, last: boolean, reply = false): FrameFields {
  const flags = (last ? 0 : Flag.more) | (reply ? Flag.reply : 0);
  return { type: FrameType.chunk, flags, idLo, body };
}

/** A request without a body. */
export function smallRequest(idLo: number, method: string, timeoutMs = 10_000): FrameFields {
  return {
    type: FrameType.request,
    idLo,
    timeoutMs,
    header: encodeHeader({ service: 's', method }),
  };
}
