// One link: a channel, the frames on it in both directions, and the calls that await a reply on it. The ladder,
// the direct endpoints and the direct listener make links; clients call on them, the dispatcher answers on them.
// What must stay true: every pending call ends exactly once; a call fails with mayHaveRun false only if its frame
// was never handed to the channel or the peer says so; nothing is sent after a protocol error.
import { Buffer } from 'node:buffer';
import { MeshError, errorText } from '../base/errors.js';
import { Status } from '../base/status.js';
import { FrameType, writeFixed } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { FrameParser } from '../protocol/frame-parser.js';
import { encodeHeader } from '../protocol/header.js';
import { fixedBytes, maxFrameBodyBytes } from '../protocol/limits.js';
import { requestHeaderBytes, writeRequest } from './call-headers.js';
import type { DynamicHeader } from './call-headers.js';
import type { Channel, OpenChannel } from './channel.js';
import { DeadlineQueue } from './deadlines.js';
import { InboundCalls } from './inbound-call.js';
import { Outbound } from './outbound.js';
import { PendingCall, PendingCalls } from './pending-calls.js';
import { readWelcome } from './hello.js';
import type { Welcome } from './hello.js';
import { LinkPulse } from './link-pulse.js';
import { asRefusal, refused } from './refusal.js';
import { settleCall } from './settle-call.js';
import type { Reply } from './types.js';

/** What a link asks of those who made it. */
export interface LinkEvents {
  /** A request or one-way came. */
  onRequest(link: Link, frame: Frame): void;
  /** The peer gave up a request. */
  onCancel(link: Link, idLo: number, idHi: number): void;
  /** The peer wants no new requests here. Answer with acknowledgeGoAway() when the last one is written. */
  onGoAway(link: Link): void;
  /** The link is gone; pending calls have failed. Comes once. */
  onClosed(link: Link, reason: string): void;
}

export interface LinkOptions {
  /** `connect`: the first frame must be a welcome. `accept`: it must be a hello, which `onHello` judges. */
  role: 'connect' | 'accept';
  maxPendingCalls: number;
  maxOutboundBytes: number;
  openTimeoutMs: number;
  keepAliveMs: number;
  /** Accepting side: answers the welcome to a hello; a status other than 0 closes the link behind it. */
  onHello?: (hello: Frame) => { status: number; welcome: Buffer };
}

/** Beyond the bound of outbound bytes, statuses and pongs may still use this much before the link is given up. */
const outboundReserveBytes = 2 * 1024 * 1024;
/** Bytes that are worth a write of their own before the turn ends. */
const eagerFlushBytes = 128 * 1024;
const answerTooLate = encodeHeader({
  statusMessage: 'the answer found maxOutboundBytes waiting on its link',
});
const maxStatusFrameBytes = 512;
const maxGoAways = 64;

/** A framed connection to an agent or, in direct mode, to another app. */
export class Link {
  readonly inbound = new InboundCalls();
  readonly opened: Promise<Welcome>;
  state: 'opening' | 'open' | 'closed' = 'opening';
  /** True once no new call may be made here. */
  draining = false;
  readonly #channel: Channel;
  readonly #parser = new FrameParser();
  readonly #out = new Outbound();
  readonly #pending: PendingCalls;
  readonly #deadlines = new DeadlineQueue<PendingCall>((call) => this.#expire(call));
  readonly #pulse = new LinkPulse(
    (type, id) => this.#control(type, 0, 0, id, 0),
    (reason) => this.close(reason),
  );
  readonly #goAways: Frame[] = [];
  #flushScheduled = false;
  #blocked = false;
  #openTimer: NodeJS.Timeout | undefined;
  #settleOpened!: { resolve: (welcome: Welcome) => void; reject: (error: Error) => void };
  readonly #idleWaiters: (() => void)[] = [];

  constructor(
    open: OpenChannel,
    readonly options: LinkOptions,
    readonly events: LinkEvents,
  ) {
    this.#pending = new PendingCalls(options.maxPendingCalls);
    this.opened = new Promise((resolve, reject) => (this.#settleOpened = { resolve, reject }));
    // Who waits for it sees the rejection; nobody has to.
    this.opened.catch(() => undefined);
    this.#openTimer = setTimeout(
      () =>
        this.close(
          `no ${options.role === 'connect' ? 'welcome' : 'hello'} within ${options.openTimeoutMs} ms`,
        ),
      options.openTimeoutMs,
    );
    this.#channel = open({
      onData: (bytes, start, end) => this.#receive(bytes, start, end),
      onSpace: () => {
        this.#blocked = false;
        this.#flush();
      },
      onClose: (reason) => this.#ended(reason),
    });
  }

  get kind(): Channel['kind'] {
    return this.#channel.kind;
  }

  /** True while new calls may be made; those made before the link is open wait in its outbound bytes. */
  get usable(): boolean {
    return !this.draining && this.state !== 'closed';
  }

  /** True once the peer has asked for no new requests. */
  get goingAway(): boolean {
    return this.#goAways.length > 0;
  }

  get pendingCount(): number {
    return this.#pending.count;
  }

  /**
   * Sends a request; the promise settles with its reply, its deadline or the end of the link.
   *
   * @param deadlineMs on the clock of performance.now(), later than `nowMs`
   */
  call(
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    nowMs: number,
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      if (this.state === 'closed') return reject(refused('UNAVAILABLE', 'the link is closed'));
      if (this.#pending.full) {
        const text = `${this.#pending.capacity} calls are pending on this link (maxPendingCalls)`;
        return reject(refused('RESOURCE_EXHAUSTED', text));
      }
      const call = new PendingCall(deadlineMs, resolve, reject);
      this.#pending.add(call);
      const timeoutMs = wireTimeoutMs(deadlineMs - nowMs);
      try {
        call.frameStart = this.#out.position;
        this.#writeRequest(FrameType.request, call.idLo, call.idHi, timeoutMs, staticHeader, dynamic, body);
        call.frameEnd = this.#out.position;
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
  ): void {
    this.#writeRequest(FrameType.oneWay, 0, 0, wireTimeoutMs(timeoutMs), staticHeader, dynamic, body);
  }

  /** Answers a request of the peer. An answer that finds too many bytes waiting becomes RESOURCE_EXHAUSTED. */
  respond(
    idLo: number,
    idHi: number,
    status: number,
    flags: number,
    header: Buffer,
    body: Uint8Array | string,
  ): void {
    if (this.state === 'closed') return;
    const bodyBytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    const total = fixedBytes + header.length + bodyBytes;
    const waiting = this.#out.size + total;
    if (waiting > this.options.maxOutboundBytes) {
      // Statuses may use the reserve; a whole answer becomes a status.
      if (total > maxStatusFrameBytes)
        return this.respond(idLo, idHi, Status.RESOURCE_EXHAUSTED, 0, answerTooLate, '');
      if (waiting > this.options.maxOutboundBytes + outboundReserveBytes)
        return this.close('the peer does not read');
    }
    const at = this.#out.reserve(total);
    const bytes = this.#out.bytes;
    writeFixed(bytes, at, FrameType.response, flags, status, 0, header.length, bodyBytes, idLo, idHi, 0, 0);
    if (header.length > 0) bytes.set(header, at + fixedBytes);
    if (typeof body === 'string') bytes.write(body, at + fixedBytes + header.length, bodyBytes, 'utf8');
    else bytes.set(body, at + fixedBytes + header.length);
    this.#scheduleFlush();
  }

  /** Tells the peer that no request comes behind this point, as its go-away asked, and takes no further calls. */
  acknowledgeGoAway(): void {
    this.draining = true;
    for (const frame of this.#goAways.splice(0)) {
      this.#control(FrameType.goAwayAck, 0, 0, frame.idLo, frame.idHi);
    }
  }

  /** Asks the peer to send no more requests; answers whether it agreed in time. */
  goAway(timeoutMs: number): Promise<boolean> {
    if (this.state === 'closed') return Promise.resolve(false);
    return this.#pulse.ask(FrameType.goAway, timeoutMs);
  }

  /** Called by the dispatcher when a request of the peer is answered or given up. */
  inboundEnded(): void {
    this.#wakeIfIdle();
  }

  /**
   * Takes no new calls, lets those in flight in both directions finish for at most `timeoutMs`, makes sure that
   * the peer has read everything, and closes.
   */
  async finish(timeoutMs: number, reason: string): Promise<void> {
    this.draining = true;
    await this.opened.catch(() => undefined);
    if (this.state === 'open') {
      await this.#idle(timeoutMs);
      if (this.state === 'open') await this.#pulse.ask(FrameType.ping, Math.min(1000, timeoutMs));
    }
    this.close(reason);
  }

  /** Ends the link at once; pending calls fail. */
  close(reason: string): void {
    if (this.state === 'closed') return;
    this.#flush();
    this.#ended(reason);
    this.#channel.close();
  }

  #writeRequest(
    type: number,
    idLo: number,
    idHi: number,
    timeoutMs: number,
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
  ): void {
    if (this.state === 'closed') throw refused('UNAVAILABLE', 'the link is closed');
    const bodyBytes = bodyLength(body);
    if (bodyBytes > maxFrameBodyBytes) {
      const text = `a body of ${bodyBytes} bytes is over the limit of ${maxFrameBodyBytes} bytes`;
      throw refused('RESOURCE_EXHAUSTED', text, false);
    }
    const headerBytes = requestHeaderBytes(staticHeader, dynamic);
    if (this.#out.size + fixedBytes + headerBytes + bodyBytes > this.options.maxOutboundBytes) {
      const text = `${this.options.maxOutboundBytes} bytes wait on this link (maxOutboundBytes)`;
      throw refused('RESOURCE_EXHAUSTED', text);
    }
    writeRequest(this.#out, type, idLo, idHi, timeoutMs, staticHeader, dynamic, headerBytes, body, bodyBytes);
    this.#scheduleFlush();
  }

  #control(type: number, flags: number, status: number, idLo: number, idHi: number): void {
    if (this.state === 'closed') return;
    if (this.#out.size > this.options.maxOutboundBytes + outboundReserveBytes) {
      this.close('the peer does not read');
      return;
    }
    const at = this.#out.reserve(fixedBytes);
    writeFixed(this.#out.bytes, at, type, flags, status, 0, 0, 0, idLo, idHi, 0, 0);
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    if (this.#blocked) return;
    if (this.#out.size >= eagerFlushBytes) {
      this.#flush();
      return;
    }
    this.#flushScheduled = true;
    process.nextTick(this.#scheduledFlush);
  }

  readonly #scheduledFlush = (): void => {
    this.#flushScheduled = false;
    this.#flush();
  };

  #flush(): void {
    if (this.state !== 'closed' && !this.#blocked) this.#blocked = !this.#out.flush(this.#channel);
  }

  #receive(bytes: Buffer, start: number, end: number): void {
    if (this.state === 'closed') return;
    this.#pulse.heard();
    const problem = this.#parser.push(bytes, this.#onFrame, start, end);
    if (problem !== undefined) this.close(`protocol error: ${problem}`);
    else if (this.kind === 'shm' && this.#parser.partialBytes > 0)
      this.close('protocol error: a record that is no frame');
  }

  readonly #onFrame = (frame: Frame): void => {
    if (this.state === 'opening') {
      this.#first(frame);
      return;
    }
    switch (frame.type) {
      case FrameType.response:
        this.#settle(frame);
        break;
      case FrameType.request:
      case FrameType.oneWay:
        this.events.onRequest(this, frame);
        break;
      case FrameType.cancel:
        this.events.onCancel(this, frame.idLo, frame.idHi);
        break;
      case FrameType.ping:
        this.#control(FrameType.pong, 0, 0, frame.idLo, frame.idHi);
        break;
      case FrameType.pong:
      case FrameType.goAwayAck:
        this.#pulse.answered(frame.idLo, frame.idHi);
        break;
      case FrameType.goAway:
        this.#askedToGo(frame);
        break;
      case FrameType.chunk:
      case FrameType.credit:
        // Belongs to a stream that was answered UNIMPLEMENTED.
        break;
      default:
        this.close(`protocol error: frame type ${frame.type} is not allowed here`);
    }
  };

  #first(frame: Frame): void {
    if (this.options.role === 'accept') {
      if (frame.type !== FrameType.hello) return this.close('protocol error: the first frame is not hello');
      const { status, welcome } = this.options.onHello!(frame);
      const at = this.#out.reserve(welcome.length);
      this.#out.bytes.set(welcome, at);
      this.#scheduleFlush();
      if (status !== Status.OK) return this.close('the hello was refused');
      this.#open({ value: 0, statusMessage: '' });
      return;
    }
    let welcome: Welcome;
    try {
      welcome = readWelcome(frame);
    } catch (error) {
      return this.close(errorText(error));
    }
    this.#open(welcome);
  }

  #open(welcome: Welcome): void {
    this.state = 'open';
    clearTimeout(this.#openTimer);
    if (this.kind === 'tcp') this.#pulse.keepAlive(this.options.keepAliveMs);
    this.#settleOpened.resolve(welcome);
  }

  #settle(frame: Frame): void {
    const call = this.#pending.take(frame.idLo, frame.idHi);
    if (call === undefined) return;
    this.#deadlines.remove(call);
    call.forgetSignal();
    settleCall(call, frame);
    if (this.draining) this.#wakeIfIdle();
  }

  #expire(call: PendingCall): void {
    this.#giveUp(call, 'DEADLINE_EXCEEDED', 'the deadline passed before the reply came');
  }

  #giveUp(call: PendingCall, status: 'DEADLINE_EXCEEDED' | 'CANCELLED', text: string): void {
    this.#pending.remove(call);
    this.#deadlines.remove(call);
    call.forgetSignal();
    const recalled = this.#out.recall(call.frameStart);
    if (!recalled) this.#control(FrameType.cancel, 0, 0, call.idLo, call.idHi);
    call.reject(new MeshError(status, text, { mayHaveRun: !recalled }));
    if (this.draining) this.#wakeIfIdle();
  }

  #askedToGo(frame: Frame): void {
    // A limit to one service is taken as one for all: a new link serves the others as well as this one did.
    if (this.#goAways.length >= maxGoAways) return this.close('protocol error: too many go-aways');
    this.#goAways.push(frame);
    if (this.draining) this.acknowledgeGoAway();
    else if (this.#goAways.length === 1) this.events.onGoAway(this);
  }

  #idle(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#idleWaiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#wakeIfIdle();
    });
  }

  #wakeIfIdle(): void {
    if (this.#idleWaiters.length === 0) return;
    if (this.state !== 'closed' && (this.#pending.count > 0 || this.inbound.count > 0)) return;
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  #ended(reason: string): void {
    if (this.state === 'closed') return;
    const handed = this.#out.handed;
    this.state = 'closed';
    this.draining = true;
    this.#parser.stop(reason);
    clearTimeout(this.#openTimer);
    this.#deadlines.clear();
    this.#settleOpened.reject(new Error(reason));
    for (const call of this.#pending.takeAll()) {
      call.forgetSignal();
      const mayHaveRun = call.frameEnd <= handed;
      call.reject(new MeshError('UNAVAILABLE', `the link is lost: ${reason}`, { mayHaveRun }));
    }
    this.#pulse.end();
    this.events.onClosed(this, reason);
    this.#wakeIfIdle();
  }
}

/** Whole milliseconds for the wire, where 0 would mean that there is no deadline. */
function wireTimeoutMs(timeoutMs: number): number {
  return Math.max(1, Math.round(timeoutMs));
}

/** Length of a body in bytes. Throws TypeError for what is no body: types do not hold callers in plain JavaScript. */
function bodyLength(body: Uint8Array | string): number {
  if (typeof body === 'string') return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.length;
  throw new TypeError('a body must be a Uint8Array or a string');
}
