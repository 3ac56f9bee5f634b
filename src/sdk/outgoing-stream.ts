// Bodies that leave one link in pieces: requests of this side and answers to requests of the other. The link's writer
// asks for the next piece whenever its channel takes more; here it is decided whose turn it is. What must stay true: no
// piece goes beyond the credit of its stream; streams take turns, so that none waits for another's credit; at most
// `maxStreams` have begun, and the others begin in the order in which they came.
import { Buffer } from 'node:buffer';
import { MeshError } from '../base/errors.js';
import { Flag, FrameType, writeFixed } from '../protocol/frame.js';
import { fixedBytes, maxFrameBodyBytes, streamWindowBytes } from '../protocol/limits.js';
import { streamKey, writeChunk } from '../protocol/stream-frame.js';
import type { StreamId } from '../protocol/stream-frame.js';
import type { FrameParts } from './channel.js';
import { DeadlineQueue, wireTimeoutMs } from './deadlines.js';
import type { Expiring } from './deadlines.js';

const noBytes = new Uint8Array(0);

/** One body on its way out. */
export class OutgoingStream implements StreamId, Expiring {
  heapIndex = -1;
  /** Bytes that have left, in pieces. */
  sentBytes = 0;
  /** Bytes that may leave before more credit comes. */
  allowanceBytes = streamWindowBytes;
  /** True from its first piece on: the other side knows of it. */
  begun = false;
  /** True once its last piece has left, or nothing more of it will. */
  ended = false;
  /** Where its last piece ends in the link's outbound stream; before that piece is written, infinitely far. */
  endPosition = Infinity;
  readonly totalBytes: number;

  /** What is sent; let go of at the end, because calls await their reply much longer. */
  body: Uint8Array;

  /**
   * @param body is not copied, and must not change before the stream has ended
   * @param flags of its first frame, beside that more follow
   * @param onBroken the body cannot be sent to its end; the stream is out of the table by then
   */
  constructor(
    readonly reply: boolean,
    readonly idLo: number,
    readonly idHi: number,
    readonly header: Buffer,
    body: Uint8Array,
    readonly deadlineMs: number,
    readonly onBroken: (stream: OutgoingStream, error: MeshError) => void,
    readonly flags = 0,
  ) {
    this.body = body;
    this.totalBytes = body.length;
  }

  /** Bytes of the piece that may leave now. */
  get pieceBytes(): number {
    return Math.min(this.totalBytes - this.sentBytes, this.allowanceBytes, maxFrameBodyBytes);
  }
}

/** A piece of a stream, in a frame of its own. */
export interface Piece extends FrameParts {
  readonly stream: OutgoingStream;
}

/** The outgoing streams of one link. */
export class OutgoingStreams {
  readonly #requests = new Map<string, OutgoingStream>();
  readonly #replies = new Map<string, OutgoingStream>();
  /** Beyond `maxStreams`: in the order in which they begin. */
  readonly #queued = new Set<OutgoingStream>();
  /** With something to send and credit for it; the first one's turn is next. */
  readonly #ready = new Set<OutgoingStream>();
  /** Of answers; a request's deadline is that of its call. */
  readonly #deadlines = new DeadlineQueue<OutgoingStream>((stream) =>
    this.#break(
      stream,
      new MeshError('DEADLINE_EXCEEDED', 'the answer was not taken whole before the deadline'),
    ),
  );
  #unbegunRequests = 0;
  #replyBytes = 0;

  constructor(readonly maxStreams: number) {}

  /** Streams that have not ended. */
  get count(): number {
    return this.#requests.size + this.#replies.size;
  }

  /** True if next() has a piece. */
  get ready(): boolean {
    return this.#ready.size > 0;
  }

  /** Requests of which the other side does not know yet. */
  get unbegunRequests(): number {
    return this.#unbegunRequests;
  }

  /** Bytes of the bodies of all answers here, sent or not: they live as long as their streams. */
  get replyBytes(): number {
    return this.#replyBytes;
  }

  /** Takes a stream; false if its id is in use, which for a request's own ids cannot be. */
  add(stream: OutgoingStream): boolean {
    const table = this.#tableOf(stream.reply);
    const key = streamKey(stream.idLo, stream.idHi);
    if (table.has(key)) return false;
    const runs = this.count - this.#queued.size < this.maxStreams;
    table.set(key, stream);
    (runs ? this.#ready : this.#queued).add(stream);
    if (stream.reply) {
      this.#replyBytes += stream.totalBytes;
      this.#deadlines.add(stream);
    } else this.#unbegunRequests += 1;
    return true;
  }

  find(reply: boolean, idLo: number, idHi: number): OutgoingStream | undefined {
    return this.#tableOf(reply).get(streamKey(idLo, idHi));
  }

  /** Credit came; answers why it is a protocol error. Credit for streams that are not known any more is ignored. */
  credit(reply: boolean, idLo: number, idHi: number, grantBytes: number): string | undefined {
    const stream = this.find(reply, idLo, idHi);
    if (stream === undefined) return undefined;
    if (grantBytes === 0) return 'credit of nothing';
    if (stream.allowanceBytes + grantBytes > streamWindowBytes)
      return `credit of ${grantBytes} bytes for a body that has ${stream.allowanceBytes} of ${streamWindowBytes} left`;
    stream.allowanceBytes += grantBytes;
    this.#ready.add(stream);
    return undefined;
  }

  /** The next piece; its stream's turn comes again after the others'. Undefined if nothing may be sent now. */
  next(): Piece | undefined {
    for (const stream of this.#ready) {
      this.#ready.delete(stream);
      if (stream.body.length === stream.totalBytes) return this.#cut(stream);
      // Detached or shrunk by its owner, although types and documentation say that it must not change.
      this.#break(stream, new MeshError('INTERNAL', 'the body was changed while it was being sent'));
    }
    return undefined;
  }

  /** Sends nothing more of a stream; one that has ended is left alone. */
  drop(stream: OutgoingStream): void {
    if (stream.ended) return;
    stream.ended = true;
    stream.body = noBytes;
    this.#tableOf(stream.reply).delete(streamKey(stream.idLo, stream.idHi));
    this.#ready.delete(stream);
    this.#queued.delete(stream);
    this.#deadlines.remove(stream);
    if (stream.reply) this.#replyBytes -= stream.totalBytes;
    else if (!stream.begun) this.#unbegunRequests -= 1;
    this.#startQueued();
  }

  /** Drops everything. */
  clear(): void {
    for (const table of [this.#requests, this.#replies]) {
      for (const stream of table.values()) {
        stream.ended = true;
        stream.body = noBytes;
      }
      table.clear();
    }
    this.#queued.clear();
    this.#ready.clear();
    this.#deadlines.clear();
    this.#unbegunRequests = 0;
    this.#replyBytes = 0;
  }

  #break(stream: OutgoingStream, error: MeshError): void {
    this.drop(stream);
    // Not from inside next(): what its owner sends must stand behind the pieces being cut.
    queueMicrotask(() => stream.onBroken(stream, error));
  }

  #cut(stream: OutgoingStream): Piece {
    const start = stream.sentBytes;
    const end = start + stream.pieceBytes;
    const last = end === stream.totalBytes;
    const body = stream.body.subarray(start, end);
    stream.sentBytes = end;
    stream.allowanceBytes -= end - start;
    const prefix = stream.begun ? chunkPrefix(stream, end - start, last) : firstPrefix(stream, end - start);
    if (!stream.begun && !stream.reply) this.#unbegunRequests -= 1;
    stream.begun = true;
    if (last) this.drop(stream);
    else if (stream.allowanceBytes > 0) this.#ready.add(stream);
    return { stream, prefix, body };
  }

  #startQueued(): void {
    for (const stream of this.#queued) {
      if (this.count - this.#queued.size >= this.maxStreams) return;
      this.#queued.delete(stream);
      this.#ready.add(stream);
    }
  }

  #tableOf(reply: boolean): Map<string, OutgoingStream> {
    return reply ? this.#replies : this.#requests;
  }
}

function firstPrefix(stream: OutgoingStream, pieceBytes: number): Buffer {
  const { reply, idLo, idHi, header, totalBytes, deadlineMs } = stream;
  const bytes = Buffer.allocUnsafe(fixedBytes + header.length);
  const flags = Flag.more | stream.flags;
  const type = reply ? FrameType.response : FrameType.request;
  // The time that it waited for its turn is gone.
  const timeoutMs = reply ? 0 : wireTimeoutMs(deadlineMs - performance.now());
  writeFixed(bytes, 0, type, flags, 0, 0, header.length, pieceBytes, idLo, idHi, timeoutMs, totalBytes);
  bytes.set(header, fixedBytes);
  return bytes;
}

function chunkPrefix(stream: OutgoingStream, pieceBytes: number, last: boolean): Buffer {
  const bytes = Buffer.allocUnsafe(fixedBytes);
  writeChunk(bytes, 0, stream, pieceBytes, last);
  return bytes;
}
