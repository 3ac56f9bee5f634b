// Bodies that arrive on one link in pieces, put together each into one buffer: requests for the dispatcher, answers for
// this side's own calls. What must stay true: no more memory is touched for a body than has arrived, and no more set aside than about
// twice that (once 128 KiB are there, at most 4 MiB), whatever length its sender claims; their number and the sum of the claimed
// lengths are bounded; a body is whole or not given on.
import { Buffer } from 'node:buffer';
import { MeshError } from '../base/errors.js';
import type { StatusName } from '../base/status.js';
import type { Frame } from '../protocol/frame.js';
import { mayTake } from '../policy/fair-share.js';
import { maxFrameBodyBytes, streamWindowBytes } from '../protocol/limits.js';
import { checkChunk, hasMore, isReply, streamKey } from '../protocol/stream-frame.js';
import type { StreamId } from '../protocol/stream-frame.js';
import { replyFailure } from './settle-call.js';
import type { StreamLimits } from './stream-limits.js';

/** Bytes worth a credit frame: the sender then still has half of its window to go on with. */
const creditStepBytes = streamWindowBytes / 2;

/** Of a body of which this much has arrived, so much may be set aside at once: what is not written to is only address space, while growing copies. */
const earnestBytes = 2 * maxFrameBodyBytes;
const wholeBufferBytes = 4 * 1024 * 1024;

/** Bodies that several may send over one link together where each may send `maxStreams`: they share it, and one of them alone gets as many. */
function maxStreamsTogether(maxStreams: number): number {
  return maxStreams < 8 ? maxStreams : Math.ceil((maxStreams * 5) / 4);
}

/** Who waits for a body. Exactly one of the two is called, once, unless the body is dropped. */
export interface BodySink {
  /** It is whole. */
  onBody(body: Buffer): void;
  /** It breaks the rules, or its sender broke it off. `goesOn`: the sender does not know yet. */
  onBroken(error: MeshError, goesOn: boolean): void;
}

/** One body on its way in. */
export class IncomingBody implements StreamId {
  #bytes: Buffer;
  #filledBytes = 0;
  /** Bytes taken for which no credit was given yet. */
  ungrantedBytes = 0;

  constructor(
    readonly reply: boolean,
    readonly idLo: number,
    readonly idHi: number,
    readonly totalBytes: number,
    readonly sink: BodySink,
    readonly sender: string | undefined = undefined,
  ) {
    this.#bytes = Buffer.alloc(0);
  }

  get filledBytes(): number {
    return this.#filledBytes;
  }

  /** The body, once it is whole. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Copies the frame's body behind what is there; its length was checked. */
  append({ bytes, headerEnd, bodyEnd }: Frame): void {
    const neededBytes = this.#filledBytes + bodyEnd - headerEnd;
    if (neededBytes > this.#bytes.length) {
      const roomBytes = Math.max(2 * neededBytes, neededBytes > earnestBytes ? wholeBufferBytes : 0);
      const grown = Buffer.allocUnsafeSlow(Math.min(this.totalBytes, roomBytes));
      this.#bytes.copy(grown, 0, 0, this.#filledBytes);
      this.#bytes = grown;
    }
    bytes.copy(this.#bytes, this.#filledBytes, headerEnd, bodyEnd);
    this.#filledBytes = neededBytes;
  }
}

/** The incoming bodies of one link. */
export class IncomingBodies {
  readonly #requests = new Map<string, IncomingBody>();
  readonly #replies = new Map<string, IncomingBody>();
  #claimedBytes = 0;

  /** @param grant gives credit to the sender of a body */
  constructor(
    readonly limits: StreamLimits,
    readonly grant: (body: IncomingBody, bytes: number) => void,
  ) {}

  get count(): number {
    return this.#requests.size + this.#replies.size;
  }

  /** Bytes that the bodies here will have when they are whole, as their senders say. */
  get claimedBytes(): number {
    return this.#claimedBytes;
  }

  /**
   * Begins a body with its first piece, a request or response with MORE. The caller has made sure that no body with this
   * id is on its way.
   *
   * @param sender whose share of the bounds it takes, where several send over this link
   * @returns the body, or why it is refused
   */
  begin(frame: Frame, reply: boolean, sink: BodySink, sender?: string): IncomingBody | MeshError {
    const refusal = this.#refusal(frame, reply, sender);
    if (refusal !== undefined) return refusal;
    const body = new IncomingBody(reply, frame.idLo, frame.idHi, frame.value, sink, sender);
    this.#tableOf(reply).set(streamKey(frame.idLo, frame.idHi), body);
    this.#claimedBytes += body.totalBytes;
    this.#take(body, frame);
    return body;
  }

  /** A chunk came; answers why it is a protocol error. Chunks of bodies that are not known any more are ignored. */
  chunk(frame: Frame): string | undefined {
    const problem = checkChunk(frame);
    if (problem !== undefined) return problem;
    const reply = isReply(frame);
    const body = this.#tableOf(reply).get(streamKey(frame.idLo, frame.idHi));
    if (body === undefined) return undefined;
    const pieceBytes = frame.bodyEnd - frame.headerEnd;
    if (body.ungrantedBytes + pieceBytes > streamWindowBytes)
      return 'more of a body than credit was given for';
    const goesOn = hasMore(frame);
    if (reply && !goesOn && frame.status !== 0) this.#break(body, replyFailure(frame), false);
    else if (body.filledBytes + pieceBytes + (goesOn ? 1 : 0) > body.totalBytes)
      this.#break(body, tooLong(body), goesOn);
    else {
      this.#take(body, frame);
      if (!goesOn) this.#complete(body);
    }
    return undefined;
  }

  /** Takes no more of a body; one that has ended is left alone. */
  drop(body: IncomingBody): void {
    const table = this.#tableOf(body.reply);
    const key = streamKey(body.idLo, body.idHi);
    if (table.get(key) !== body) return;
    table.delete(key);
    this.#claimedBytes -= body.totalBytes;
  }

  /** Drops everything. */
  clear(): void {
    this.#requests.clear();
    this.#replies.clear();
    this.#claimedBytes = 0;
  }

  #refusal(frame: Frame, reply: boolean, sender: string | undefined): MeshError | undefined {
    const { maxBodyBytes, maxStreams, maxStreamBytes } = this.limits;
    const claimed = frame.value;
    const refuse = (status: StatusName, text: string, retryable: boolean): MeshError =>
      new MeshError(status, text, { mayHaveRun: reply, retryable });
    if (claimed > maxBodyBytes) {
      const text = `a body of ${claimed} bytes is over the limit of ${maxBodyBytes} bytes (maxBodyBytes)`;
      return refuse('RESOURCE_EXHAUSTED', text, false);
    }
    // More is to come, so the first piece is not all of it.
    if (frame.bodyEnd - frame.headerEnd >= claimed) {
      return refuse(
        mismatchStatus(reply),
        `a body is longer than the ${claimed} bytes it was said to have`,
        false,
      );
    }
    const together = sender === undefined ? maxStreams : maxStreamsTogether(maxStreams);
    if (this.count >= together) {
      return refuse('RESOURCE_EXHAUSTED', `${together} bodies arrive on this link (maxStreams)`, true);
    }
    if (this.#claimedBytes + claimed > maxStreamBytes) {
      const text = `bodies of ${this.#claimedBytes} bytes arrive on this link, ${claimed} more are over ${maxStreamBytes}`;
      return refuse('RESOURCE_EXHAUSTED', `${text} (maxStreamBytes)`, true);
    }
    if (sender === undefined) return undefined;
    const own = this.#ownOf(sender);
    if (!mayTake(own.bodies, 1, together - this.count, together)) {
      return refuse('RESOURCE_EXHAUSTED', `${own.bodies} bodies of this caller arrive (maxStreams)`, true);
    }
    if (!mayTake(own.bytes, claimed, maxStreamBytes - this.#claimedBytes, maxStreamBytes)) {
      const text = `bodies of ${own.bytes} bytes of this caller arrive, ${claimed} more are over its share of ${maxStreamBytes}`;
      return refuse('RESOURCE_EXHAUSTED', `${text} (maxStreamBytes)`, true);
    }
    return undefined;
  }

  #ownOf(sender: string): { bodies: number; bytes: number } {
    const own = { bodies: 0, bytes: 0 };
    for (const body of this.#requests.values()) {
      if (body.sender !== sender) continue;
      own.bodies += 1;
      own.bytes += body.totalBytes;
    }
    return own;
  }

  #take(body: IncomingBody, frame: Frame): void {
    body.append(frame);
    body.ungrantedBytes += frame.bodyEnd - frame.headerEnd;
    const restBytes = body.totalBytes - body.filledBytes;
    // A sender that may send the whole rest needs no more credit.
    if (body.ungrantedBytes < creditStepBytes || restBytes + body.ungrantedBytes <= streamWindowBytes) return;
    const granted = body.ungrantedBytes;
    body.ungrantedBytes = 0;
    this.grant(body, granted);
  }

  #complete(body: IncomingBody): void {
    this.drop(body);
    if (body.filledBytes === body.totalBytes) body.sink.onBody(body.bytes);
    else {
      const text = `a body ended after ${body.filledBytes} of the ${body.totalBytes} bytes it was said to have`;
      body.sink.onBroken(mismatch(body, text), false);
    }
  }

  #break(body: IncomingBody, error: MeshError, goesOn: boolean): void {
    this.drop(body);
    body.sink.onBroken(error, goesOn);
  }

  #tableOf(reply: boolean): Map<string, IncomingBody> {
    return reply ? this.#replies : this.#requests;
  }
}

function tooLong(body: IncomingBody): MeshError {
  return mismatch(body, `a body is longer than the ${body.totalBytes} bytes it was said to have`);
}

/** A request has not run, because handlers get whole bodies only. */
function mismatch(body: IncomingBody, text: string): MeshError {
  return new MeshError(mismatchStatus(body.reply), text, { mayHaveRun: body.reply });
}

function mismatchStatus(reply: boolean): StatusName {
  return reply ? 'DATA_LOSS' : 'INVALID_ARGUMENT';
}
