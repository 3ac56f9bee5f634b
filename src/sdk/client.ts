// The calling half of the SDK: checks a call's options, works out its deadline and trace, finds its link. The same
// class serves both modes; only the source of links differs. Errors leave here as rejected promises, never as
// synchronous throws.
import { EventEmitter } from 'node:events';
import type { RPCImpl } from 'protobufjs';
import { MeshError, errorText } from '../base/errors.js';
import { currentCall } from './call-context.js';
import type { CallContext } from './call-context.js';
import { Flag } from '../protocol/frame.js';
import { CallHeaders } from './call-headers.js';
import { checkCallOptions } from './check-options.js';
import type { DynamicHeader } from './call-headers.js';
import type { Link } from './link.js';
import type { LinkSource } from './link-source.js';
import { rpcImplOf } from './protobuf-rpc.js';
import { asRefusal, clientClosed, refused } from './refusal.js';
import type { Settings } from './settings.js';
import type { CallOptions, Reply, TransportName } from './types.js';
import { WaitForReady } from './wait-for-ready.js';

/** Events of a client. */
export interface ClientEvents {
  /** The transport changed. */
  transport: [transport: TransportName];
  /** The client is closed. */
  close: [];
}

/** What holds for calls that do not say otherwise. */
export interface CallDefaults {
  readonly timeoutMs: number;
  readonly waitForReady: boolean;
}

const noOptions: CallOptions = {};
const maxTimeoutMs = 0x7fffffff;

/** Calls services. Made by {@link connect}; a server has one as `server.client`. */
export class Client extends EventEmitter<ClientEvents> {
  readonly #source: LinkSource;
  readonly #settings: Pick<Settings, 'log' | 'isNews'>;
  readonly #headers: CallHeaders;
  readonly #defaults: CallDefaults;
  readonly #ready: WaitForReady;
  #closed: Promise<void> | undefined;

  /** @internal Use `connect`. */
  constructor(
    source: LinkSource,
    settings: Pick<Settings, 'app' | 'maxPendingCalls' | 'log' | 'isNews'>,
    defaults: CallDefaults,
  ) {
    super();
    this.#settings = settings;
    this.#source = source;
    this.#headers = new CallHeaders(settings.app);
    this.#defaults = defaults;
    this.#ready = new WaitForReady(source, settings.maxPendingCalls);
  }

  /** How calls leave this process now. In direct mode always `tcp`. */
  get transport(): TransportName {
    return this.#source.transport;
  }

  /**
   * Calls a method and waits for its reply.
   *
   * @param body at most what the other side takes (`maxBodyBytes` there, by default 64 MiB); a string travels as UTF-8.
   *   Bytes over 65,536 are not copied: do not change them before the call has settled, nor after it has failed
   * @returns the reply; rejects with a {@link MeshError}
   */
  call(
    service: string,
    method: string,
    body: Uint8Array | string,
    options: CallOptions = noOptions,
  ): Promise<Reply> {
    const context = currentCall();
    const nowMs = performance.now();
    try {
      if (options !== noOptions) checkCallOptions(options, this.#warn);
      const deadlineMs = this.#deadline(nowMs, options, context);
      const header = this.#headers.staticPart(service, method, options);
      const { signal } = options;
      const dynamic = dynamicHeader(options, context);
      if (this.#waits(options)) {
        this.#checkOpen();
        return this.#ready.run(service, deadlineMs, signal, (link, atMs) => {
          if (signal?.aborted) throw cancelled(signal);
          return link.call(header, dynamic, body, atMs, deadlineMs, signal, Flag.waitForReady);
        });
      }
      const link = this.#link(service);
      if (signal?.aborted) throw cancelled(signal);
      return link.call(header, dynamic, body, nowMs, deadlineMs, signal);
    } catch (error) {
      return Promise.reject(asRefusal(error));
    }
  }

  /**
   * Sends a request that nobody answers. The promise resolves when the message is on its way out of this process,
   * which says nothing about its arrival; it rejects with a {@link MeshError} if it cannot be taken.
   *
   * @param body at most 65,536 bytes; a string travels as UTF-8
   */
  send(
    service: string,
    method: string,
    body: Uint8Array | string,
    options: Omit<CallOptions, 'signal'> = noOptions,
  ): Promise<void> {
    const context = currentCall();
    const nowMs = performance.now();
    try {
      if (options !== noOptions) checkCallOptions(options, this.#warn);
      const deadlineMs = this.#deadline(nowMs, options, context);
      const header = this.#headers.staticPart(service, method, options);
      const dynamic = dynamicHeader(options, context);
      if (this.#waits(options)) {
        this.#checkOpen();
        return this.#ready.run(service, deadlineMs, undefined, async (link, atMs) =>
          link.send(header, dynamic, body, deadlineMs - atMs, Flag.waitForReady),
        );
      }
      this.#link(service).send(header, dynamic, body, deadlineMs - nowMs);
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(asRefusal(error));
    }
  }

  /**
   * The transport of a protobufjs service.
   *
   * @example
   * const users = UserService.create(client.rpcImpl('user-service'));
   * const user = await users.getUser({ id: 7 });
   */
  rpcImpl(service: string, options: CallOptions = noOptions): RPCImpl {
    return rpcImplOf(this, service, options);
  }

  /** Takes no new calls, lets those in flight finish (at most `drainTimeoutMs`), and closes the links. */
  close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#ready.close();
      this.#closed = this.#source.close().then(() => void this.emit('close'));
    }
    return this.#closed;
  }

  /** @internal */
  transportChanged(transport: TransportName): void {
    if (transport !== 'none') queueMicrotask(() => this.#ready.linkChanged());
    // Not from inside the ladder: a listener that throws must not stop it in the middle of a change.
    queueMicrotask(() => this.emit('transport', transport));
  }

  readonly #warn = (line: string): void => {
    if (this.#settings.isNews(line)) this.#settings.log('warn', line, {});
  };

  #waits({ waitForReady = this.#defaults.waitForReady }: CallOptions): boolean {
    return waitForReady;
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw clientClosed();
  }

  #link(service: string): Link {
    this.#checkOpen();
    const link = this.#source.pick(service);
    if (link instanceof MeshError) throw link;
    return link;
  }

  #deadline(nowMs: number, options: CallOptions, context: CallContext | undefined): number {
    const timeoutMs = options.timeoutMs ?? this.#defaults.timeoutMs;
    if (!(timeoutMs > 0 && timeoutMs <= maxTimeoutMs)) {
      throw refused('INVALID_ARGUMENT', `timeoutMs must be more than 0 and at most ${maxTimeoutMs}`);
    }
    const deadlineMs = Math.min(nowMs + timeoutMs, context?.deadlineMs ?? Infinity);
    if (deadlineMs > nowMs) return deadlineMs;
    throw new MeshError('DEADLINE_EXCEEDED', 'the deadline of the request being served has passed', {
      mayHaveRun: false,
    });
  }
}

function cancelled(signal: AbortSignal): MeshError {
  return refused('CANCELLED', `cancelled: ${errorText(signal.reason)}`);
}

/** The part of the header that differs from call to call; undefined in the usual case that there is none. */
function dynamicHeader(options: CallOptions, context: CallContext | undefined): DynamicHeader | undefined {
  const { hashKey = '', attachments } = options;
  const inherits = options.traceparent === undefined && context !== undefined;
  const traceparent = inherits ? context.traceparent : (options.traceparent ?? '');
  const tracestate = inherits ? context.tracestate : (options.tracestate ?? '');
  if (hashKey === '' && traceparent === '' && tracestate === '' && attachments === undefined)
    return undefined;
  return { hashKey, traceparent, tracestate, attachments };
}
