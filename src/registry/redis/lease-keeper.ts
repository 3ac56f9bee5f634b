/**
 * Keeps one instance registered in Redis: writes it, renews its lease, writes it again when Redis lost it, and takes it
 * out at the end. An instance is accepted also while Redis cannot be reached and written when it can; trouble is tried
 * again with jitter, so that many who lost Redis together do not come back together. A newer registration of the same
 * instance, from a process that took over, is left in peace.
 */
import { MeshError } from '../../base/errors.js';
import { TurnQueue } from '../../base/turn-queue.js';
import { nextRenewalMs } from '../../policy/lease.js';
import type { Clock } from '../clock.js';
import { validInstance } from '../instance.js';
import type { Instance } from '../instance.js';
import type { InstanceChange, Registration } from '../registry.js';
import type { RedisClient } from './redis-client.js';
import { keysOf, servicesKey } from './service-keys.js';
import type { ServiceKeys } from './service-keys.js';

/** How often a service is noted in the list of services again, beside each new registration. */
const NOTE_MS = 60_000;

/** What a keeper needs from the registry it belongs to. */
export interface KeeperContext {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Reports what is wrong; null: nothing any more. */
  problem(text: string | null): void;
  /** Called once, when nothing is kept any more. */
  ended(): void;
}

/** See the file's head. */
export class RedisLeaseKeeper implements Registration {
  readonly #keys: ServiceKeys;
  #instance: Instance;
  /** Whether Redis has what it should, as far as we know. */
  #written = false;
  #notedMs = -Infinity;
  #failures = 0;
  #state: 'kept' | 'superseded' | 'ended' = 'kept';
  #cancelTimer: () => void = () => undefined;
  /** Everything that is asked of Redis waits for what was asked before. */
  readonly #queue = new TurnQueue();

  constructor(
    instance: Instance,
    private readonly context: KeeperContext,
  ) {
    this.#instance = instance;
    this.#keys = keysOf(context.prefix, instance.service);
  }

  /** See {@link Registration.instance}. */
  get instance(): Instance {
    return this.#instance;
  }

  /** Whether Redis has the instance, as far as we know. */
  get written(): boolean {
    return this.#written;
  }

  /** Writes the instance for the first time, or later if Redis cannot now. @throws {MeshError} if it is refused */
  async start(): Promise<void> {
    await this.#renewAndSchedule();
    if (this.#state === 'kept') return;
    this.#end();
    throw new MeshError('ALREADY_EXISTS', `${this.#instance.id} has a newer registration`, {
      mayHaveRun: false,
    });
  }

  /** See {@link Registration.update}; where Redis cannot be reached, the next renewal writes the change. */
  async update(change: InstanceChange): Promise<void> {
    const valid = validInstance({ ...this.#instance, ...change });
    const { id, service, group, epoch } = this.#instance;
    await this.#queue.run(async () => {
      if (this.#state !== 'kept') {
        throw new MeshError('FAILED_PRECONDITION', `${id} is not registered any more`, { mayHaveRun: false });
      }
      this.#instance = Object.freeze({ ...valid, id, service, group, epoch });
      this.#written = false;
      await this.#write();
    });
  }

  /** See {@link Registration.deregister}. */
  async deregister(): Promise<void> {
    this.#cancelTimer();
    await this.#queue.run(async () => {
      if (this.#state === 'ended') return;
      const kept = this.#state === 'kept';
      this.#end();
      if (!kept) return;
      await this.context.client.run('ringsideDeregister', this.#keys, this.#instance.id, this.#epoch);
    });
  }

  async #renewAndSchedule(): Promise<void> {
    await this.#queue.run(async () => {
      if (this.#state !== 'kept') return;
      try {
        if (this.#written) await this.#renew();
        else await this.#write();
        this.#failures = 0;
      } catch {
        // The client has told of it.
        this.#failures += 1;
      }
    });
    this.#schedule();
  }

  async #renew(): Promise<void> {
    const { client, leaseMs, clock } = this.context;
    const answer = await client.run('ringsideRenew', this.#keys, this.#instance.id, this.#epoch, leaseMs);
    if (answer === 2) this.#letGo();
    else if (answer === 0) await this.#write();
    else if (clock.monotonicMs() - this.#notedMs > NOTE_MS) await this.#note();
  }

  async #write(): Promise<void> {
    const { client, leaseMs } = this.context;
    const json = JSON.stringify(this.#instance);
    const { id } = this.#instance;
    // The service's name first: an instance whose service is not listed would be found by all but the watcher.
    await this.#note();
    const done = await client.run('ringsideRegister', this.#keys, id, this.#epoch, json, leaseMs);
    if (done === 1) this.#written = true;
    else this.#letGo();
  }

  async #note(): Promise<void> {
    const { client, prefix, clock } = this.context;
    await client.noteService(servicesKey(prefix), this.#instance.service);
    this.#notedMs = clock.monotonicMs();
  }

  #letGo(): void {
    this.#state = 'superseded';
    this.context.problem(
      `${this.#instance.id} was registered again by a newer process; this one lets go of it`,
    );
  }

  get #epoch(): string {
    return String(Math.trunc(this.#instance.epoch));
  }

  #schedule(): void {
    if (this.#state !== 'kept') return;
    const { leaseMs, clock, random } = this.context;
    const delayMs = nextRenewalMs(leaseMs, this.#failures, random);
    this.#cancelTimer();
    this.#cancelTimer = clock.after(delayMs, () => void this.#renewAndSchedule());
  }

  #end(): void {
    this.#state = 'ended';
    this.#cancelTimer();
    this.context.problem(null);
    this.context.ended();
  }
}
