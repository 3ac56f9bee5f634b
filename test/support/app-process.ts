// The test's end of the application in test/support/apps/app.mjs: orders as methods, events as promises. Failed calls reject with
// CallFailure, which has the fields of the MeshError that the application saw.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AgentProcess } from './agent-process.js';
import { RunningProcess } from './running-process.js';
import type { StartOptions } from './running-process.js';

const script = fileURLToPath(new URL('apps/app.mjs', import.meta.url));

/** How an app reaches its agent; `no-addon` is `auto` in a process that cannot load the addon. */
export const transports = ['shm', 'unix', 'tcp', 'no-addon'] as const;
export type TestTransport = (typeof transports)[number];

export interface CallOptions {
  timeoutMs?: number;
  group?: string;
  version?: string;
  hashKey?: string;
  attachments?: Record<string, string>;
  traceparent?: string;
  tracestate?: string;
  waitForReady?: boolean;
}

export interface CallReply {
  body: Buffer;
  attachments: Record<string, string>;
}

/** A call's MeshError as it came over the channel. */
export interface Failure {
  status: string;
  code: number;
  message: string;
  retryable: boolean;
  mayHaveRun: boolean;
}

export class CallFailure extends Error implements Failure {
  readonly status: string;
  readonly code: number;
  readonly retryable: boolean;
  readonly mayHaveRun: boolean;
  constructor({ status, code, message, retryable, mayHaveRun }: Failure) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryable = retryable;
    this.mayHaveRun = mayHaveRun;
  }
}

export interface LoadOptions {
  service?: string;
  /** In turn. */
  services?: readonly string[];
  method: string;
  inFlight: number;
  /** Without it the load goes on until it is ended. */
  total?: number;
  /** Names the load; ids of its calls are this and a number. */
  prefix: string;
  bodyBytes?: number;
  /** Sizes of the bodies in turn, in bytes. */
  bodySizes?: readonly number[];
  callOptions?: CallOptions;
  /** Pause of a caller whose call failed; 1 if absent. */
  failurePauseMs?: number;
  /** Notes when each call succeeded. */
  times?: boolean;
  /** Pause of a caller whose call succeeded; none if absent. */
  pauseMs?: number;
  /** Sends without waiting for an answer. */
  oneWay?: boolean;
  /** Gives each call up after that long, which is its success. */
  cancelAfterMs?: number;
}

/** One call of a load; times in microseconds on the machine's monotonic clock. */
export interface TimedCall {
  id: string;
  sentUs: number;
  endedUs: number;
}

export interface LoadSummary {
  sent: number;
  ok: number;
  failures: (Failure & TimedCall)[];
  /** Replies by their text. */
  by: Record<string, number>;
  /** Echoes that differ from what was sent. */
  wrong: number;
  /** How long the slowest answered call took, in microseconds. */
  slowestUs: number;
  /** When calls succeeded, in microseconds on the machine's monotonic clock. */
  timesUs?: number[];
}

/** SHA-256 of a body at each place it was in so far, or why the call failed. */
export interface Exchange {
  sent: string;
  arrived?: string;
  cameBack?: string;
  failed?: Failure;
}

/** Fields of an event that the app told of. */
export type AppEvent = Record<string, unknown> & { event: string };

/** See the file's head. */
export class AppProcess {
  readonly events: AppEvent[] = [];
  #nextId = 1;

  private constructor(readonly process: RunningProcess) {
    process.onMessage((message: AppEvent) => {
      if (message.event !== undefined) this.events.push(message);
    });
  }

  static async start(name: string, options: StartOptions = {}): Promise<AppProcess> {
    const app = new AppProcess(new RunningProcess(name, script, [name], options));
    await app.event('up');
    return app;
  }

  get name(): string {
    return this.process.name;
  }
  get pid(): number {
    return this.process.pid;
  }

  /** An event that came already or comes; `match` says which. */
  async event(name: string, match: Record<string, unknown> = {}): Promise<AppEvent> {
    const fits = (event: AppEvent): boolean =>
      event.event === name && Object.entries(match).every(([key, value]) => event[key] === value);
    const earlier = this.events.find(fits);
    if (earlier) return earlier;
    return this.process.message(`event ${name} ${JSON.stringify(match)}`, (message: AppEvent) =>
      fits(message) ? message : undefined,
    );
  }

  count(name: string): number {
    return this.events.filter((event) => event.event === name).length;
  }

  async #order<T>(order: string, args: object = {}): Promise<T> {
    const id = this.#nextId++;
    interface Answer {
      id: number;
      answer?: T;
      failed?: Failure;
    }
    const answered = this.process.message(`the answer to ${order}`, (message: Answer) =>
      message.id === id ? { ...message } : undefined,
    );
    this.process.child.send({ order, id, ...args });
    const { answer, failed } = await answered;
    if (failed) throw new CallFailure(failed);
    return answer as T;
  }

  /** @returns the transport it got */
  connect(options: object, key?: string): Promise<string> {
    return this.#order('connect', { options, key });
  }
  serve(
    options: { service: string } & Record<string, unknown>,
    key?: string,
  ): Promise<{ transport: string; address?: string }> {
    return this.#order('serve', { options, key });
  }
  async call(
    service: string,
    method: string,
    body: Uint8Array | string = '',
    options: CallOptions = {},
    extra: { key?: string; abortKey?: string } = {},
  ): Promise<CallReply> {
    const order = { service, method, body, options, ...extra };
    const { reply, failure } = await this.#order<{ reply?: CallReply; failure?: Failure }>('call', order);
    if (failure) throw new CallFailure(failure);
    const { body: bytes, attachments } = reply as CallReply;
    return { body: Buffer.from(bytes), attachments };
  }
  send(service: string, method: string, body: string, options: CallOptions = {}): Promise<void> {
    return this.#order('send', { service, method, body, options });
  }
  /** Makes a call whose handler follows a plan; each call on the way becomes an event `outcome`. */
  follow(call: object): Promise<void> {
    return this.#order('follow', { call });
  }
  /** Has `bytes` random bytes echoed by a service; one at a time for each. */
  startExchange(service: string, bytes: number, options: CallOptions = {}): Promise<void> {
    return this.#order('startExchange', { service, bytes, options });
  }
  /** How that goes. */
  exchange(service: string): Promise<Exchange> {
    return this.#order('exchange', { service });
  }
  abort(abortKey: string): Promise<void> {
    return this.#order('abort', { abortKey });
  }
  startLoad(load: LoadOptions, key?: string): Promise<void> {
    return this.#order('startLoad', { load, key });
  }
  /** Resolves when that many calls of the load have succeeded. */
  reached(prefix: string, ok: number): Promise<number> {
    return this.#order('reached', { prefix, ok });
  }
  loadSoFar(prefix: string): Promise<LoadSummary> {
    return this.#order('loadSoFar', { prefix });
  }
  /** Ends the load, lets what is in flight finish. */
  endLoad(prefix: string, now = true): Promise<LoadSummary> {
    return this.#order('endLoad', { prefix, now });
  }
  /** Ids of the `record` requests that ran here, also of a process that is gone.  */
  ran(): string[] {
    const file = this.process.env['TEST_RAN_LOG'];
    if (file === undefined) throw new Error(`${this.name} keeps no log of what ran`);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  }
  letGo(): Promise<void> {
    return this.#order('letGo');
  }
  /** Holds the app's main thread; resolves when it runs again. Await the event `spinning` to know that it has begun. */
  spin(ms: number): Promise<void> {
    return this.#order('spin', { ms });
  }
  /** Lets the app do little from now on: after each turn of its event loop it stands still for so long. 0 ends that. */
  drowse(ms: number): Promise<void> {
    return this.#order('drowse', { ms });
  }
  /** Bytes of its heap that are still in use after a collection. */
  collectedHeapBytes(): Promise<number> {
    return this.#order('collectedHeapBytes');
  }
  transport(key?: string): Promise<string> {
    return this.#order('transport', { key });
  }
  closeClient(key?: string): Promise<void> {
    return this.#order('closeClient', { key });
  }
  closeServer(key?: string): Promise<void> {
    return this.#order('closeServer', { key });
  }
}

/** Options of `connect` and `serve` for a way to an agent. */
export function wayTo(
  agent: Pick<AgentProcess, 'socket' | 'loopback'>,
  transport: TestTransport | 'auto',
): object {
  const tcp = `tcp://127.0.0.1:${agent.loopback}`;
  switch (transport) {
    case 'shm':
    case 'unix':
      return { agent: agent.socket, transport };
    case 'tcp':
      return { agent: tcp, transport };
    default:
      return { agent: { socket: agent.socket, tcp } };
  }
}
