// The calls of this side on one link, from their first byte to their end. What must stay true: every call ends exactly
// once, and with it everything of it, in both directions; a call fails with mayHaveRun false only if its request never
// was handed to the channel whole, or the peer says so.
import type { Buffer } from 'node:buffer';
import { MeshError, errorText } from '../base/errors.js';
import { FrameType } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { fixedBytes, maxBodyBytes, maxFrameBodyBytes } from '../protocol/limits.js';
import { hasMore } from '../protocol/stream-frame.js';
import { encodeRequestHeader, requestHeaderBytes, writeRequest } from './call-headers.js';
import type { DynamicHeader } from './call-headers.js';
import { DeadlineQueue, wireTimeoutMs } from './deadlines.js';
import type { IncomingBodies } from './incoming-stream.js';
import type { LinkWriter } from './link-writer.js';
import { bodyBytes, bodyLength } from './message-body.js';
import { OutgoingStream } from './outgoing-stream.js';
import { PendingCall, PendingCalls } from './pending-calls.js';
import { asRefusal, refused } from './refusal.js';
import { replyAttachments, replyFailure, settleCall } from './settle-call.js';
import type { Reply } from './types.js';

export class LinkCalls {
  readonly #pending: PendingCalls;
  readonly #deadlines = new DeadlineQueue<PendingCall>((call) => this.#expire(call));

  /** @param ended a call has ended */
  constructor(
    capacity: number,
    readonly writer: LinkWriter,
    readonly incoming: IncomingBodies,
    readonly ended: () => void,
  ) {
    this.#pending = new PendingCalls(capacity);
  }

  get count(): number {
    return this.#pending.count;
  }

  /**
   * Sends a request; the promise settles with its reply, its deadline or the end of the link.
   *
   * @param deadlineMs on the clock of performance.now(), later than `nowMs`
   * @param flags of the request's frame
   */
  call(
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    nowMs: number,
    deadlineMs: number,
    signal: AbortSignal | undefined,
    flags = 0,
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      if (this.#pending.full) {
        const text = `${this.#pending.capacity} calls are pending on this link (maxPendingCalls)`;
        return reject(refused('RESOURCE_EXHAUSTED', text));
      }
      const call = new PendingCall(deadlineMs, resolve, reject);
      this.#pending.add(call);
      try {
        const length = bodyLength(body);
        if (length > maxFrameBodyBytes) this.#stream(call, flags, staticHeader, dynamic, body, length);
        else {
          call.frameStart = this.writer.out.position;
          this.#write(
            FrameType.request,
            flags,
            call,
            deadlineMs - nowMs,
            staticHeader,
            dynamic,
            body,
            length,
          );
          call.frameEnd = this.writer.out.position;
        }
      } catch (error) {
        this.#pending.remove(call);
        return reject(asRefusal(error));
      }
      this.#deadlines.add(call);
      if (signal !== undefined) {
        call.signal = signal;
        call.onAbort = () => this.#giveUp(call, 'CANCELLED', `cancelled: ${errorText(signal.reason)}`);
        signal.addEventListener('abort', call.onAbort, { once: true });
      }
    });
  }

  /** Sends a one-way request. Throws a MeshError if it cannot be taken. */
  send(
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    timeoutMs: number,
    flags = 0,
  ): void {
    const length = bodyLength(body);
    if (length > maxFrameBodyBytes) {
      const text = `a one-way body of ${length} bytes is over the limit of ${maxFrameBodyBytes} bytes`;
      throw refused('RESOURCE_EXHAUSTED', text, false);
    }
    this.#write(FrameType.oneWay, flags, noId, timeoutMs, staticHeader, dynamic, body, length);
  }

  /** A response came; answers why it is a protocol error. One that nobody awaits any more is ignored. */
  onResponse(frame: Frame): string | undefined {
    const call = this.#pending.find(frame.idLo, frame.idHi);
    if (call === undefined) return undefined;
    if (call.receiving !== undefined) return 'a second response to one request';
    if (hasMore(frame)) this.#begin(call, frame);
    else {
      this.#end(call);
      settleCall(call, frame);
    }
    return undefined;
  }

  /** The link is lost: all calls fail. `handed` is the position up to which the channel took everything. */
  lost(reason: string, handed: number): void {
    this.#deadlines.clear();
    for (const call of this.#pending.takeAll()) {
      call.forgetSignal();
      const mayHaveRun = call.runsFrom <= handed;
      call.reject(new MeshError('UNAVAILABLE', `the link is lost: ${reason}`, { mayHaveRun }));
    }
  }

  #write(
    type: number,
    flags: number,
    { idLo, idHi }: { readonly idLo: number; readonly idHi: number },
    timeoutMs: number,
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    length: number,
  ): void {
    const { out, maxOutboundBytes } = this.writer;
    const headerBytes = requestHeaderBytes(staticHeader, dynamic);
    if (out.size + fixedBytes + headerBytes + length > maxOutboundBytes) {
      const text = `${maxOutboundBytes} bytes wait on this link (maxOutboundBytes)`;
      throw refused('RESOURCE_EXHAUSTED', text);
    }
    const leftMs = wireTimeoutMs(timeoutMs);
    writeRequest(out, type, flags, idLo, idHi, leftMs, staticHeader, dynamic, headerBytes, body, length);
    this.writer.scheduleFlush();
  }

  /** Sends the request in pieces; the first one leaves when it is its turn. */
  #stream(
    call: PendingCall,
    flags: number,
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    length: number,
  ): void {
    if (length > maxBodyBytes) {
      const text = `a body of ${length} bytes is over the limit of ${maxBodyBytes} bytes`;
      throw refused('RESOURCE_EXHAUSTED', text, false);
    }
    const header = encodeRequestHeader(staticHeader, dynamic);
    const { idLo, idHi, deadlineMs } = call;
    const broken = (sent: OutgoingStream, { message }: MeshError): void => {
      if (this.#pending.find(idLo, idHi) !== call) return;
      this.#fail(call, new MeshError('INVALID_ARGUMENT', message, { mayHaveRun: false }), sent.begun);
    };
    call.sending = new OutgoingStream(false, idLo, idHi, header, bodyBytes(body), deadlineMs, broken, flags);
    this.writer.streams.add(call.sending);
    this.writer.scheduleFlush();
  }

  /** The first piece of a reply: the rest of the request, if there is one, is not wanted any more. */
  #begin(call: PendingCall, frame: Frame): void {
    this.#stopSending(call);
    call.answered = true;
    if (frame.status !== 0) {
      this.#fail(call, replyFailure(frame), true);
      return;
    }
    try {
      const attachments = replyAttachments(frame);
      const begun = this.incoming.begin(frame, true, {
        onBody: (body) => {
          this.#end(call);
          call.resolve({ body, attachments });
        },
        onBroken: (error, goesOn) => this.#fail(call, error, goesOn),
      });
      if (begun instanceof MeshError) throw begun;
      call.receiving = begun;
    } catch (error) {
      this.#fail(call, error as MeshError, true);
    }
  }

  #expire(call: PendingCall): void {
    this.#giveUp(call, 'DEADLINE_EXCEEDED', 'the deadline passed before the reply came');
  }

  #giveUp(call: PendingCall, status: 'DEADLINE_EXCEEDED' | 'CANCELLED', text: string): void {
    const { sending } = call;
    if (sending === undefined) {
      const recalled = this.writer.out.recall(call.frameStart);
      this.#fail(call, new MeshError(status, text, { mayHaveRun: !recalled }), !recalled);
    } else {
      // What has left stays without its end, so no handler starts.
      const mayHaveRun = sending.ended;
      this.#fail(call, new MeshError(status, text, { mayHaveRun }), sending.begun);
    }
  }

  /** Ends a call with an error; `tell` cancels it at the other side, with what its caller was told. */
  #fail(call: PendingCall, error: MeshError, tell: boolean): void {
    this.#end(call);
    if (tell) this.writer.control(FrameType.cancel, call.idLo, call.idHi, error.code);
    call.reject(error);
  }

  #end(call: PendingCall): void {
    this.#pending.remove(call);
    this.#deadlines.remove(call);
    call.forgetSignal();
    if (call.sending !== undefined) this.#stopSending(call);
    if (call.receiving !== undefined) this.incoming.drop(call.receiving);
    this.ended();
  }

  #stopSending({ sending }: PendingCall): void {
    if (sending !== undefined) this.writer.drop(sending);
  }
}

const noId = { idLo: 0, idHi: 0 };
