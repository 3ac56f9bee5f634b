// The way out of one link: small frames, gathered and sent in one write per turn of the loop, and behind them the pieces
// of streamed bodies as the channel takes them. What must stay true: small frames never wait for a stream, except for
// those pieces that the channel has already; bytes that wait are bounded by `maxOutboundBytes` (bodies of streams are not
// copied before their turn, so they do not wait here); nothing is written once the link is closed.
import type { Buffer } from 'node:buffer';
import { writeFixed } from '../protocol/frame.js';
import { fixedBytes } from '../protocol/limits.js';
import { writeCredit } from '../protocol/stream-frame.js';
import type { StreamId } from '../protocol/stream-frame.js';
import type { Channel } from './channel.js';
import { Outbound } from './outbound.js';
import { OutgoingStreams } from './outgoing-stream.js';
import type { OutgoingStream, Piece } from './outgoing-stream.js';

/** Beyond the bound of outbound bytes, statuses and pongs may still use this much before the link is given up. */
const outboundReserveBytes = 2 * 1024 * 1024;
/** Bytes that are worth a write of their own before the turn ends. */
const eagerFlushBytes = 128 * 1024;
/** Bytes of streams that leave before small frames, and what came in, are looked at again. */
const streamTurnBytes = 256 * 1024;

/** What a writer tells its link. */
export interface WriterEvents {
  /** The peer takes nothing, and the reserve is used up: the link must end. */
  onOverrun(): void;
  /** Pieces of streams have left: some may have begun or ended. */
  onStreams(): void;
}

export class LinkWriter {
  readonly out = new Outbound();
  readonly streams: OutgoingStreams;
  #channel: Channel | undefined;
  #closed = false;
  #flushScheduled = false;
  #blocked = false;

  constructor(
    readonly maxOutboundBytes: number,
    maxStreams: number,
    readonly events: WriterEvents,
  ) {
    this.streams = new OutgoingStreams(maxStreams);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Where frames go from now on; those written before have waited for it. */
  attach(channel: Channel): void {
    this.#channel = channel;
  }

  /** Nothing is written any more. */
  end(): void {
    this.#closed = true;
    this.streams.clear();
  }

  /** The channel has room again. */
  readonly unblocked = (): void => {
    this.#blocked = false;
    this.flush();
  };

  /** Sends a frame without header and body; `status` is why, where the type has one. */
  control(type: number, idLo: number, idHi: number, status = 0): void {
    if (!this.takesStatus()) return;
    const at = this.out.reserve(fixedBytes);
    writeFixed(this.out.bytes, at, type, 0, status, 0, 0, 0, idLo, idHi, 0, 0);
    this.scheduleFlush();
  }

  /** Lets the sender of a body send more of it. */
  credit(stream: StreamId, grantBytes: number): void {
    if (!this.takesStatus()) return;
    const at = this.out.reserve(fixedBytes);
    writeCredit(this.out.bytes, at, stream, grantBytes);
    this.scheduleFlush();
  }

  /** Sends a whole frame, which is copied. */
  frame(bytes: Buffer): void {
    if (this.#closed) return;
    const at = this.out.reserve(bytes.length);
    this.out.bytes.set(bytes, at);
    this.scheduleFlush();
  }

  /** Whether a short frame may be written although the bound is reached; if not, the link ends. */
  takesStatus(): boolean {
    if (this.#closed) return false;
    if (this.out.size <= this.maxOutboundBytes + outboundReserveBytes) return true;
    this.events.onOverrun();
    return false;
  }

  /** Sends nothing more of a stream; another one may begin in its place. */
  drop(stream: OutgoingStream): void {
    this.streams.drop(stream);
    if (this.streams.ready) this.scheduleFlush();
  }

  /** To be called behind everything that was written to `out` or added to `streams`. */
  scheduleFlush(): void {
    if (this.#flushScheduled || this.#blocked) return;
    if (this.out.size >= eagerFlushBytes) {
      this.flush();
      return;
    }
    this.#flushScheduled = true;
    process.nextTick(this.#scheduledFlush);
  }

  /** Gives the channel what it takes: small frames, then pieces of streams. */
  flush(): void {
    const channel = this.#channel;
    if (this.#closed || this.#blocked || channel === undefined) return;
    if (!this.out.flush(channel)) this.#blocked = true;
    else if (this.streams.ready) this.#flushStreams(channel);
  }

  readonly #scheduledFlush = (): void => {
    this.#flushScheduled = false;
    this.flush();
  };

  #flushStreams(channel: Channel): void {
    const { gather } = channel;
    for (let leftBytes = streamTurnBytes; leftBytes > 0 && !this.#blocked && this.streams.ready;) {
      if (gather.ready()) {
        const pieces = this.#pieces(leftBytes, gather.batchFrames);
        if (pieces.length > 0) gather.write(pieces);
        for (const { prefix, body } of pieces) leftBytes -= prefix.length + body.length;
      } else this.#blocked = true;
    }
    this.events.onStreams();
    if (this.#closed || this.#blocked || !this.streams.ready || this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(this.#scheduledFlush);
  }

  /** The next pieces in turn. */
  #pieces(mostBytes: number, mostPieces: number): Piece[] {
    const pieces: Piece[] = [];
    let bytes = 0;
    while (bytes < mostBytes && pieces.length < mostPieces) {
      const piece = this.streams.next();
      if (piece === undefined) break;
      pieces.push(piece);
      bytes += piece.prefix.length + piece.body.length;
      if (piece.stream.ended) piece.stream.endPosition = this.out.position;
    }
    return pieces;
  }
}
