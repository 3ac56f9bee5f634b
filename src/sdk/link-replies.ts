// Answers of this side to the requests of the other, on one link. A short one is a frame behind the others of the turn;
// a long one is a stream, which ends at the deadline of its request. What must stay true: every request is answered by
// one response, and an answer that cannot be sent, or not to its end, becomes a status that says why.
import { Buffer } from 'node:buffer';
import { MeshError } from '../base/errors.js';
import { Flag, FrameType, writeFixed } from '../protocol/frame.js';
import { encodeHeader } from '../protocol/header.js';
import { fixedBytes, maxBodyBytes, maxFrameBodyBytes } from '../protocol/limits.js';
import { writeBreakOff } from '../protocol/stream-frame.js';
import type { LinkWriter } from './link-writer.js';
import { bodyBytes, bodyLength } from './message-body.js';
import { OutgoingStream } from './outgoing-stream.js';

const maxStatusFrameBytes = 512;
/** Characters of an error's text that travel; in UTF-8 they stay well under the limit of a header. */
const maxTextLength = 4000;

export class LinkReplies {
  /** @param violated the peer has used an id for two requests at once: the link must end */
  constructor(
    readonly writer: LinkWriter,
    readonly maxStreamBytes: number,
    readonly violated: (reason: string) => void,
  ) {}

  /**
   * Answers a request. An answer that finds too many bytes waiting becomes RESOURCE_EXHAUSTED.
   *
   * @param deadlineMs when a stream ends at the latest, on the clock of performance.now()
   */
  respond(
    idLo: number,
    idHi: number,
    status: number,
    flags: number,
    header: Buffer,
    body: Uint8Array | string,
    deadlineMs: number,
  ): void {
    const { writer } = this;
    if (writer.closed) return;
    const length = bodyLength(body);
    if (length > maxFrameBodyBytes) {
      this.#stream(idLo, idHi, header, body, length, deadlineMs);
      return;
    }
    const total = fixedBytes + header.length + length;
    if (writer.out.size + total > writer.maxOutboundBytes) {
      // Statuses may use the reserve; a whole answer becomes a status.
      if (total > maxStatusFrameBytes) {
        this.#refuse(idLo, idHi, 'the answer found maxOutboundBytes waiting on its link', true);
        return;
      }
      if (!writer.takesStatus()) return;
    }
    const at = writer.out.reserve(total);
    const { bytes } = writer.out;
    writeFixed(bytes, at, FrameType.response, flags, status, 0, header.length, length, idLo, idHi, 0, 0);
    if (header.length > 0) bytes.set(header, at + fixedBytes);
    if (typeof body === 'string') bytes.write(body, at + fixedBytes + header.length, length, 'utf8');
    else bytes.set(body, at + fixedBytes + header.length);
    writer.scheduleFlush();
  }

  /** Answers with a failure. */
  respondError(idLo: number, idHi: number, error: MeshError): void {
    const flags = error.mayHaveRun ? 0 : Flag.notRun;
    this.respond(idLo, idHi, error.code, flags, errorHeader(error), '', 0);
  }

  /** The peer wants no answer any more. */
  cancelled(idLo: number, idHi: number): void {
    const stream = this.writer.streams.find(true, idLo, idHi);
    if (stream === undefined) return;
    this.writer.drop(stream);
    this.writer.events.onStreams();
  }

  #stream(
    idLo: number,
    idHi: number,
    header: Buffer,
    body: Uint8Array | string,
    length: number,
    deadlineMs: number,
  ): void {
    const { streams } = this.writer;
    if (length > maxBodyBytes) {
      this.#refuse(
        idLo,
        idHi,
        `an answer of ${length} bytes is over the limit of ${maxBodyBytes} bytes`,
        false,
      );
      return;
    }
    // One answer passes whatever its length: its handler has made it already.
    if (streams.replyBytes > 0 && streams.replyBytes + length > this.maxStreamBytes) {
      const text = `answers of ${streams.replyBytes} bytes wait on this link, ${length} more are over ${this.maxStreamBytes}`;
      this.#refuse(idLo, idHi, `${text} (maxStreamBytes)`, true);
      return;
    }
    const stream = new OutgoingStream(true, idLo, idHi, header, bodyBytes(body), deadlineMs, this.#broken);
    if (streams.add(stream)) this.writer.scheduleFlush();
    else this.violated('protocol error: a request has the id of another that is being answered');
  }

  #refuse(idLo: number, idHi: number, text: string, retryable: boolean): void {
    this.respondError(idLo, idHi, new MeshError('RESOURCE_EXHAUSTED', text, { retryable }));
  }

  /** A stream ends early: with a status instead of its response, or behind what was sent of it. */
  readonly #broken = (stream: OutgoingStream, error: MeshError): void => {
    this.writer.events.onStreams();
    if (!stream.begun) {
      this.respondError(stream.idLo, stream.idHi, error);
      return;
    }
    const header = errorHeader(error);
    const frame = Buffer.allocUnsafe(fixedBytes + header.length);
    writeBreakOff(frame, 0, stream, error.code, header.length);
    frame.set(header, fixedBytes);
    if (this.writer.takesStatus()) this.writer.frame(frame);
  };
}

function errorHeader(error: MeshError): Buffer {
  return encodeHeader({ statusMessage: error.message.slice(0, maxTextLength) });
}
