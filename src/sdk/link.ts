// One link: a channel and the frames on it in both directions. It opens, hands each frame to whom it belongs (the calls
// of this side, the dispatcher, streams), and ends with all that is on it. The ladder, the direct endpoints and the
// direct listener make links; clients call on them, the dispatcher answers on them. What must stay true: nothing is
// sent after a protocol error; whoever waits on a link that ends is told, once.
import type { Buffer } from 'node:buffer';
import { errorText } from '../base/errors.js';
import { Status } from '../base/status.js';
import { FrameType } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { FrameParser } from '../protocol/frame-parser.js';
import { hasMore, isReply } from '../protocol/stream-frame.js';
import type { DynamicHeader } from './call-headers.js';
import type { Channel, OpenChannel } from './channel.js';
import { readWelcome } from './hello.js';
import type { Welcome } from './hello.js';
import { InboundCalls } from './inbound-call.js';
import { IncomingBodies } from './incoming-stream.js';
import { LinkCalls } from './link-calls.js';
import { LinkPulse } from './link-pulse.js';
import { LinkReplies } from './link-replies.js';
import { LinkWriter } from './link-writer.js';
import { refused } from './refusal.js';
import type { Settings } from './settings.js';
import type { StreamLimits } from './stream-limits.js';
import type { Reply } from './types.js';

/** What a link asks of those who made it. */
export interface LinkEvents {
  /** A request or one-way came. */
  onRequest(link: Link, frame: Frame): void;
  /** The peer gave up a request; `status` says why, 0 if it did not. */
  onCancel(link: Link, idLo: number, idHi: number, status: number): void;
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
  streams: StreamLimits;
  openTimeoutMs: number;
  keepAliveMs: number;
  /** Accepting side: answers the welcome to a hello; a status other than 0 closes the link behind it. */
  onHello?: (hello: Frame) => { status: number; welcome: Buffer };
}

/** What the settings say of every link, in either role. */
export function linkBounds(
  settings: Pick<
    Settings,
    'maxPendingCalls' | 'maxOutboundBytes' | 'streams' | 'connectTimeoutMs' | 'keepAliveMs'
  >,
): Omit<LinkOptions, 'role' | 'onHello'> {
  const { maxPendingCalls, maxOutboundBytes, streams, connectTimeoutMs, keepAliveMs } = settings;
  return { maxPendingCalls, maxOutboundBytes, streams, openTimeoutMs: connectTimeoutMs, keepAliveMs };
}

const maxGoAways = 64;

/** A framed connection to an agent or, in direct mode, to another app. */
export class Link {
  readonly inbound = new InboundCalls();
  /** Answers to the peer's requests. */
  readonly replies: LinkReplies;
  /** Bodies that arrive in pieces. */
  readonly incoming: IncomingBodies;
  readonly opened: Promise<Welcome>;
  state: 'opening' | 'open' | 'closed' = 'opening';
  /** True once no new call may be made here. */
  draining = false;
  readonly #channel: Channel;
  readonly #parser = new FrameParser();
  readonly #writer: LinkWriter;
  readonly #calls: LinkCalls;
  readonly #pulse = new LinkPulse(
    (type, id) => this.#writer.control(type, id, 0),
    (reason) => this.close(reason),
  );
  readonly #goAways: Frame[] = [];
  #openTimer: NodeJS.Timeout | undefined;
  #settleOpened!: { resolve: (welcome: Welcome) => void; reject: (error: Error) => void };
  readonly #idleWaiters: (() => void)[] = [];

  constructor(
    open: OpenChannel,
    readonly options: LinkOptions,
    readonly events: LinkEvents,
  ) {
    const { maxOutboundBytes, maxPendingCalls, streams } = options;
    const writer = new LinkWriter(maxOutboundBytes, streams.maxStreams, {
      onOverrun: () => this.close('the peer does not read'),
      onStreams: () => this.#progressed(),
    });
    this.#writer = writer;
    this.incoming = new IncomingBodies(streams, (body, bytes) => writer.credit(body, bytes));
    this.#calls = new LinkCalls(maxPendingCalls, writer, this.incoming, () => this.#progressed());
    this.replies = new LinkReplies(writer, streams.maxStreamBytes, (reason) => this.close(reason));
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
      onSpace: writer.unblocked,
      onClose: (reason) => this.#ended(reason),
    });
    writer.attach(this.#channel);
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
    return this.#calls.count;
  }

  /** See {@link LinkCalls.call}. */
  call(
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    nowMs: number,
    deadlineMs: number,
    signal: AbortSignal | undefined,
    flags = 0,
  ): Promise<Reply> {
    if (this.state === 'closed') return Promise.reject(refused('UNAVAILABLE', 'the link is closed'));
    return this.#calls.call(staticHeader, dynamic, body, nowMs, deadlineMs, signal, flags);
  }

  /** Sends a one-way request. Throws a MeshError if it cannot be taken. */
  send(
    staticHeader: Buffer,
    dynamic: DynamicHeader | undefined,
    body: Uint8Array | string,
    timeoutMs: number,
    flags = 0,
  ): void {
    if (this.state === 'closed') throw refused('UNAVAILABLE', 'the link is closed');
    this.#calls.send(staticHeader, dynamic, body, timeoutMs, flags);
  }

  /** Tells the peer that no request comes behind this point, as its go-away asked, and takes no further calls. */
  acknowledgeGoAway(): void {
    this.draining = true;
    // Streams that wait for their turn are requests that are still to come.
    if (this.#writer.streams.unbegunRequests > 0) return;
    for (const frame of this.#goAways.splice(0)) {
      this.#writer.control(FrameType.goAwayAck, frame.idLo, frame.idHi);
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
    this.#writer.flush();
    this.#ended(reason);
    this.#channel.close();
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
        this.#check(this.#calls.onResponse(frame));
        break;
      case FrameType.request:
        if (hasMore(frame) && this.inbound.find(frame.idLo, frame.idHi) !== undefined)
          return this.close('protocol error: a request has the id of another that is open');
        this.events.onRequest(this, frame);
        break;
      case FrameType.oneWay:
        this.events.onRequest(this, frame);
        break;
      case FrameType.chunk:
        this.#check(this.incoming.chunk(frame));
        break;
      case FrameType.credit:
        this.#check(this.#writer.streams.credit(isReply(frame), frame.idLo, frame.idHi, frame.value));
        this.#writer.scheduleFlush();
        break;
      case FrameType.cancel:
        this.replies.cancelled(frame.idLo, frame.idHi);
        this.events.onCancel(this, frame.idLo, frame.idHi, frame.status);
        break;
      case FrameType.ping:
        this.#writer.control(FrameType.pong, frame.idLo, frame.idHi);
        break;
      case FrameType.pong:
      case FrameType.goAwayAck:
        this.#pulse.answered(frame.idLo, frame.idHi);
        break;
      case FrameType.goAway:
        this.#askedToGo(frame);
        break;
      default:
        this.close(`protocol error: frame type ${frame.type} is not allowed here`);
    }
  };

  /** Ends the link if what just came is a protocol error. */
  #check(problem: string | undefined): void {
    if (problem !== undefined) this.close(`protocol error: ${problem}`);
  }

  #first(frame: Frame): void {
    if (this.options.role === 'accept') {
      if (frame.type !== FrameType.hello) return this.close('protocol error: the first frame is not hello');
      const { status, welcome } = this.options.onHello!(frame);
      this.#writer.frame(welcome);
      if (status !== Status.OK) return this.close('the hello was refused');
      this.#open({ value: 0, statusMessage: '' });
      return;
    }
    let welcome: Welcome;
    try {
      welcome = readWelcome(frame);
    } catch (error) {
      // With its status, which the reason of an end does not bear.
      this.#settleOpened.reject(error as Error);
      return this.close(errorText(error));
    }
    this.#open(welcome);
  }

  #open(welcome: Welcome): void {
    this.state = 'open';
    clearTimeout(this.#openTimer);
    if (this.kind === 'tcp' || this.kind === 'fallback') this.#pulse.keepAlive(this.options.keepAliveMs);
    this.#settleOpened.resolve(welcome);
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

  /** Calls or streams have begun or ended: what waits for that goes on. */
  #progressed(): void {
    if (!this.draining) return;
    if (this.#goAways.length > 0) this.acknowledgeGoAway();
    this.#wakeIfIdle();
  }

  #wakeIfIdle(): void {
    if (this.#idleWaiters.length === 0) return;
    const busy = this.#calls.count > 0 || this.inbound.count > 0 || this.#writer.streams.count > 0;
    if (this.state !== 'closed' && busy) return;
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  #ended(reason: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.draining = true;
    this.#parser.stop(reason);
    clearTimeout(this.#openTimer);
    this.#settleOpened.reject(new Error(reason));
    this.#writer.end();
    this.incoming.clear();
    this.#calls.lost(reason, this.#writer.out.handed);
    this.#pulse.end();
    this.events.onClosed(this, reason);
    this.#wakeIfIdle();
  }
}
