// The engine for the rest of the agent: commands in, events out, questions as promises. The only file that knows the addon's
// `Engine`. Commands said in one tick of the event loop cross in one batch.
import type { Buffer } from 'node:buffer';
import { randomInt } from 'node:crypto';
import { CommandBatch } from './engine-commands.js';
import type { EngineEvent, TakenOver } from './engine-events.js';
import { decodeEvents } from './engine-events.js';
import type { EngineStats } from './engine-stats.js';
import { loadAddon } from './load.js';

/** Fixed while the engine runs; bounds and timeouts of docs/configuration.md. */
export interface EngineOptions {
  app: string;
  loopbackToken?: string;
  /** Whether the worker thread may wait for who runs on its core, see native/engine/batch_scheduling.h. */
  batchScheduling: boolean;
  /** How long the worker thread looks for events before it sleeps, see native/engine/busy_poll.h; 0: never. */
  busyPollUs: number;
  shmEnabled: boolean;
  ringBytes: number;
  allowUids: readonly number[];
  /** Users that may connect to ports for applications; nobody if absent. */
  loopbackUids?: readonly number[];
  /** Whoever they are. */
  loopbackAnyUid?: boolean;
  /** Whether upcalls say where those are who ask on the inbound port. */
  placePeers?: boolean;
  maxLinks: number;
  maxLinksPerUid: number;
  maxLinksPerAddress: number;
  maxPending: number;
  maxParked: number;
  maxParkedBytes: number;
  maxWaiting: number;
  maxWaitingBytes: number;
  maxFlows: number;
  maxClusters: number;
  maxOutboundBytes: number;
  maxBodyBytes: number;
  maxStreamsPerLink: number;
  upcallsPerSecondPerLink: number;
  maxLegacyMessageBytes: number;
  maxLegacyBytes: number;
  legacyConnectionsPerInstance: number;
  defaultTimeoutMs: number;
  maxTimeoutMs: number;
  connectTimeoutMs: number;
  keepaliveMs: number;
  /** How long a successor may take until the freeze. */
  takeoverDeadlineMs: number;
  /** Of hashing, balancing and jitter. */
  seed: number;
}

/** Where to listen; `role` says who connects there. */
export type ListenSpec =
  | { role: 'app'; path: string; mode: number; group?: number }
  | { role: 'app' | 'peer'; host: string; port: number }
  | { role: 'successor'; path: string };

/** A listening socket of the engine. */
export interface EngineListener {
  readonly id: number;
  /** As bound; 0 for a unix socket. */
  readonly port: number;
}

interface NativeEngine {
  submit(batch: Buffer): void;
  listen(spec: object): { id: number; port: number };
  close(): void;
}

/** Events that are no answers to a question. */
export type EngineNotice = Exclude<
  EngineEvent,
  { type: 'stats' | 'idle' | 'go-away-done' | 'handoff-offered' | 'taken-over' }
>;

/** See the file's head. */
export class Engine {
  readonly #native: NativeEngine;
  readonly #batch = new CommandBatch();
  readonly #questions = new Map<number, (answer: never) => void>();
  // Not from 1: acknowledgements of what the process before this one asked must not answer our questions.
  #nextQuestion = randomInt(1, 2 ** 31);
  #taking: { resolve(answer: unknown): void; reject(error: Error): void } | undefined;
  /** Why this engine takes over nothing any more; it may come between two steps, when nobody waits for it. */
  #takingEnded: Error | undefined;
  #flushScheduled = false;
  #closed = false;

  /**
   * Starts the engine's thread.
   * @param onNotice called for each event in order; must not throw
   * @throws Error if the addon is missing or the machine gives no descriptors
   */
  constructor(options: EngineOptions, onNotice: (event: EngineNotice) => void) {
    const EngineClass = loadAddon()['Engine'] as new (
      options: EngineOptions,
      onEvents: (batch: Buffer) => void,
    ) => NativeEngine;
    this.#native = new EngineClass(options, (batch) => {
      for (const event of decodeEvents(batch)) {
        if (event.type === 'stats') this.#answer(event.id, event.stats);
        else if (event.type === 'idle') this.#answer(event.id, undefined);
        else if (event.type === 'go-away-done') this.#answer(event.id, event);
        else if (event.type === 'handoff-offered') this.#taking?.resolve(event.state);
        else if (event.type === 'taken-over') {
          this.#taking?.resolve(event);
          // From here on it is the old one of the next handoff.
          this.#taking = undefined;
        } else if (event.type === 'handoff-failed' && this.#taking) this.#endTaking(new Error(event.text));
        else onNotice(event);
      }
    });
  }

  /** The batch that is submitted at the end of this tick. */
  get commands(): CommandBatch {
    if (!this.#flushScheduled && !this.#closed) {
      this.#flushScheduled = true;
      queueMicrotask(() => this.flush());
    }
    return this.#batch;
  }

  /** Submits what was said so far, without waiting for the end of the tick. */
  flush(): void {
    this.#flushScheduled = false;
    if (this.#closed || this.#batch.isEmpty) return;
    this.#native.submit(this.#batch.take());
  }

  /** @throws Error saying why the address cannot be listened on */
  listen(spec: ListenSpec): EngineListener {
    return this.#native.listen(spec);
  }

  /** A copy of the engine's statistics. */
  stats(): Promise<EngineStats> {
    return this.#ask((id) => this.commands.readStats(id));
  }

  /** Resolves once no request is pending or parked and all replies have left; with `appsGone`, once no app is linked any more, either. */
  idle(appsGone = false): Promise<void> {
    return this.#ask((id) => this.commands.awaitIdle(id, appsGone));
  }

  /**
   * Asks peers (with `apps`, this agent's apps too) to send no new requests for a service, or none at all where it is
   * ''. Without `apps`, what its apps call of each other goes on in the latter case. Resolves when all have acknowledged or after `timeoutMs`.
   * @returns how many acknowledged, and how many did not
   */
  goAway(service: string, timeoutMs: number, apps = false): Promise<{ acked: number; missed: number }> {
    return this.#ask((id) => this.commands.goAway(id, service, timeoutMs, apps));
  }

  /**
   * Asks the agent behind a takeover socket for everything it has. Resolves with its offer: what clusters and flows
   * to make before takeOverReady().
   * @throws Error saying why it ends here; this engine is of no use then
   */
  takeOver(path: string, software: string, deadlineMs: number): Promise<Buffer> {
    return this.#take(() => this.commands.takeOver(path, software, deadlineMs));
  }

  /** Resolves when this engine has everything and serves. @throws as takeOver() does */
  takeOverReady(): Promise<TakenOver> {
    return this.#take(() => this.commands.takeOverReady());
  }

  /** Ends the thread and closes every link. Questions still open never settle; ask none afterwards. */
  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#native.close();
  }

  #endTaking(why: Error): void {
    this.#takingEnded = why;
    this.#taking?.reject(why);
  }

  #take<T>(say: () => void): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the engine is closed'));
    if (this.#takingEnded) return Promise.reject(this.#takingEnded);
    return new Promise<T>((resolve, reject) => {
      this.#taking = { resolve, reject };
      say();
    });
  }

  #ask<T>(say: (id: number) => void): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the engine is closed'));
    return new Promise<T>((resolve) => {
      const id = this.#nextQuestion;
      this.#nextQuestion = (id % 0xffff_ffff) + 1;
      this.#questions.set(id, resolve);
      say(id);
    });
  }

  #answer(id: number, answer: unknown): void {
    const resolve = this.#questions.get(id) as ((answer: unknown) => void) | undefined;
    this.#questions.delete(id);
    resolve?.(answer);
  }
}
