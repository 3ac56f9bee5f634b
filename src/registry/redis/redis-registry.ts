/**
 * The registry whose store is Redis (docs/registry.md): agents on many machines register their apps' services there and
 * follow those that they call. Leases end by Redis' own clock. Redis being down, slow, flushed or failing over empties
 * no list: the last good one serves on, from disk after a restart, and what vanishes all at once is held for a while.
 */
import { MeshError } from '../../base/errors.js';
import type { RegistryView } from '../../observe/agent-view.js';
import { byId } from '../../policy/endpoints-of.js';
import { ProtectedList } from '../../policy/protection.js';
import type { ProtectionBounds } from '../../policy/protection.js';
import { systemClock } from '../clock.js';
import type { Clock } from '../clock.js';
import { validInstance } from '../instance.js';
import type { Instance } from '../instance.js';
import { InstancesWatch } from '../instances-watch.js';
import { ProblemBoard } from '../problem-board.js';
import type { InstancesListener, Registration, Registry } from '../registry.js';
import type { RegistryState } from '../registry-state.js';
import { RedisLeaseKeeper } from './lease-keeper.js';
import { ListCacheWriter, readCachedLists } from './list-cache.js';
import type { RedisAddress } from '../../base/redis-url.js';
import { RedisClient } from './redis-client.js';
import { RedisDirectory } from './redis-directory.js';
import type { ServiceList } from './service-list.js';

/** See the file's head. */
export interface RedisRegistryOptions {
  readonly address: RedisAddress;
  readonly ca?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  /** First part of all keys. */
  readonly prefix: string;
  /** How long one command, or connecting, may take. */
  readonly timeoutMs: number;
  /** Lease of what is registered here. */
  readonly leaseMs: number;
  /** Time between two comparisons of versions. */
  readonly sweepMs: number;
  readonly protection: ProtectionBounds;
  /** File with the last good lists; null: none. */
  readonly cacheFile: string | null;
  /** Instances of all watched services, at most. */
  readonly maxInstances: number;
  /** Services watched, at most. */
  readonly maxServices: number;
  /** Called when something goes wrong, with all that is wrong, and with null when all is well again. */
  readonly onProblem?: (problem: string | null) => void;
  readonly clock?: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

/** A service that nobody watches any more is followed on for so long: lookups ask for the same ones again and again. */
const LINGER_MS = 60_000;
/** One that nobody serves: its name may have been invented. */
const LINGER_EMPTY_MS = 5_000;

interface Watched {
  readonly watches: Set<InstancesWatch>;
  readonly protection: ProtectedList<Instance>;
  /** What serves now, sorted by id; null until it was read, or found on disk. */
  serving: readonly Instance[] | null;
  fromDisk: boolean;
  /** Takes back what is planned for it: its end, or the use of an old list. */
  cancelPlan: () => void;
}

/** Opens the registry. Resolves when Redis has answered, or has not for `timeoutMs`; it is tried again for ever. */
export async function openRedisRegistry(options: RedisRegistryOptions): Promise<RedisRegistry> {
  const registry = new RedisRegistry(options);
  await registry.opened;
  return registry;
}

/** Made by {@link openRedisRegistry}. */
export class RedisRegistry implements Registry {
  /** Resolves when Redis can be used, or the time for that is over. */
  readonly opened: Promise<void>;
  readonly #options: RedisRegistryOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #client: RedisClient;
  readonly #directory: RedisDirectory;
  readonly #board: ProblemBoard;
  readonly #keepers = new Map<string, RedisLeaseKeeper>();
  readonly #watched = new Map<string, Watched>();
  /** Instances of watched services that serve. */
  #served = 0;
  readonly #cached = new Map<string, readonly Instance[]>();
  readonly #cacheWriter: ListCacheWriter | null;
  #cancelExpiry: () => void = () => undefined;
  /** Before this moment a lease that ended says nothing about its owner: Redis is, or was a moment ago, out of reach. */
  #doubtUntilMs = 0;
  #closed = false;
  /** It has answered, or lists from elsewhere are there. */
  #usable = false;

  constructor(options: RedisRegistryOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#board = new ProblemBoard(options.onProblem ?? (() => undefined));
    const { address, ca, sentinelPassword, timeoutMs, prefix, sweepMs, maxInstances, cacheFile } = options;
    let open = (): void => undefined;
    this.opened = new Promise((resolve) => (open = resolve));
    this.#client = new RedisClient({
      ...{ address, ca, sentinelPassword, timeoutMs, random: this.#random },
      onHealth: (problem) => this.#onHealth(problem),
      onMessage: (channel, text) => this.#directory.told(channel, text),
      onNotifying: () => this.#directory.readAll(),
    });
    void this.#client.ready.then(open);
    this.#clock.after(timeoutMs, () => {
      open();
      this.#client.probe();
    });
    this.#directory = new RedisDirectory({
      ...{ client: this.#client, prefix, sweepMs, maxInstances, clock: this.#clock, random: this.#random },
      onChange: (list) => this.#changed(list),
      problem: (source, text) => this.#board.set(source, text),
    });
    this.#readCache();
    this.#cacheWriter =
      cacheFile === null
        ? null
        : new ListCacheWriter(
            cacheFile,
            this.#clock,
            () => this.#listsToKeep(),
            (text) => {
              this.#board.set('cache', text);
            },
          );
    this.#scheduleExpiry();
  }

  /** See {@link Registry.place}. */
  get place(): string {
    return `the registry at ${this.#options.address.shown}`;
  }

  /** See {@link Registry.problem}. */
  get problem(): string | null {
    return this.#board.current;
  }

  /** See {@link Registry.problemsBySource}. */
  get problemsBySource(): string[] {
    return this.#board.all;
  }

  /** See {@link Registry.usable}. */
  get usable(): boolean {
    return this.#usable;
  }

  /** See {@link Registry.register}. */
  async register(claimed: Instance): Promise<Registration> {
    const instance = validInstance(claimed);
    if (this.#closed) throw new MeshError('UNAVAILABLE', 'the registry is closed', { mayHaveRun: false });
    const name = `${instance.service}\n${instance.id}`;
    if (this.#keepers.has(name)) {
      throw new MeshError('ALREADY_EXISTS', `${instance.id} is registered already`, { mayHaveRun: false });
    }
    const { prefix, leaseMs } = this.#options;
    const keeper = new RedisLeaseKeeper(instance, {
      ...{ client: this.#client, prefix, leaseMs, clock: this.#clock, random: this.#random },
      problem: (text) => this.#board.set(`lease ${name}`, text),
      ended: () => this.#keepers.delete(name),
    });
    this.#keepers.set(name, keeper);
    await keeper.start();
    return keeper;
  }

  /** See {@link Registry.watch}. */
  watch(service: string, group: string | undefined, listener: InstancesListener): () => void {
    const watched = this.#watched.get(service) ?? this.#begin(service);
    if (watched.watches.size === 0 && watched.serving !== null) watched.cancelPlan();
    const watch = new InstancesWatch(group, listener, this.#board);
    watched.watches.add(watch);
    if (watched.serving !== null) watch.tell(watched.serving);
    return () => {
      watched.watches.delete(watch);
      if (watched.watches.size === 0 && this.#watched.get(service) === watched)
        this.#linger(service, watched);
    };
  }

  /** See {@link Registry.export}. */
  export(): RegistryState {
    const nowMs = this.#clock.monotonicMs();
    const known = [...this.#watched].filter(([, { serving }]) => serving !== null);
    const services = known.map(([service, { protection }]) => {
      const { listed, vanished, protecting } = protection.export(nowMs);
      const offline = [...(this.#directory.list(service)?.offlineIds ?? [])];
      return { service, listed: [...listed], vanished: [...vanished], protecting, offline };
    });
    const doubtMs = this.#doubtUntilMs - nowMs;
    return { doubtMs: doubtMs === Infinity ? null : Math.max(0, doubtMs), services };
  }

  /** See {@link Registry.adopt}. */
  adopt({ doubtMs, services }: RegistryState): void {
    const nowMs = this.#clock.monotonicMs();
    this.#usable ||= services.length > 0;
    this.#doubtUntilMs = Math.max(this.#doubtUntilMs, doubtMs === null ? Infinity : nowMs + doubtMs);
    for (const { service, offline, ...known } of services) {
      if (this.#watched.has(service) || this.#watched.size >= this.#options.maxServices) continue;
      const watched = this.#begin(service);
      const list = this.#directory.list(service);
      list?.adopt(offline);
      watched.protection.adopt(known, ({ id }) => id, nowMs);
      watched.fromDisk = false;
      this.#serve(service, watched, list);
      this.#linger(service, watched);
    }
  }

  /** See {@link Registry.view}. */
  view(): RegistryView {
    const watched = [...this.#watched];
    const held = watched.map(([service, { protection }]) => ({ service, instances: protection.held }));
    const lists = [...this.#directory.lists()];
    return {
      kind: 'redis',
      address: this.#options.address.shown,
      connected: this.#client.connected,
      problem: this.problem,
      services: watched.length,
      instances: this.#served,
      read: this.#served,
      registered: this.#keepers.size,
      offline: lists.reduce((sum, { offline }) => sum + offline, 0),
      fromDisk: watched.filter(([, { fromDisk }]) => fromDisk).length,
      protected: held.filter(({ instances }) => instances > 0),
    };
  }

  /** See {@link Registry.close}. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelExpiry();
    for (const { cancelPlan } of this.#watched.values()) cancelPlan();
    await this.#cacheWriter?.close();
    this.#watched.clear();
    this.#directory.close();
    await Promise.allSettled([...this.#keepers.values()].map((keeper) => keeper.deregister()));
    this.#client.close();
  }

  #onHealth(problem: string | null): void {
    this.#usable ||= problem === null;
    if (problem !== null) this.#doubtUntilMs = Infinity;
    // Owners come back one by one, each by its next renewal.
    else if (this.#doubtUntilMs === Infinity)
      this.#doubtUntilMs = this.#clock.monotonicMs() + this.#options.leaseMs;
    this.#board.set('redis', problem);
  }

  #begin(service: string): Watched {
    if (this.#watched.size >= this.#options.maxServices) this.#endOneUnwatched();
    if (this.#watched.size >= this.#options.maxServices) {
      const text = `${this.#options.maxServices} services are watched already, the configured limit`;
      throw new MeshError('RESOURCE_EXHAUSTED', text, { mayHaveRun: false });
    }
    const protection = new ProtectedList<Instance>(this.#options.protection);
    const watched: Watched = {
      watches: new Set(),
      protection,
      serving: null,
      fromDisk: false,
      cancelPlan: () => undefined,
    };
    this.#watched.set(service, watched);
    this.#directory.follow(service);
    // A list of old is better than none, and worse than one that comes in a moment.
    const { timeoutMs } = this.#options;
    if (this.#client.connected) {
      watched.cancelPlan = this.#clock.after(timeoutMs, () => this.#serveOld(service, watched));
    } else this.#serveOld(service, watched);
    return watched;
  }

  #serveOld(service: string, watched: Watched): void {
    const old = this.#cached.get(service);
    if (old === undefined || watched.serving !== null) return;
    watched.protection.update(mapById(old), () => false, this.#clock.monotonicMs());
    this.#setServing(watched, old);
    watched.fromDisk = true;
    for (const watch of [...watched.watches]) watch.tell(old);
  }

  #linger(service: string, watched: Watched): void {
    watched.cancelPlan();
    const lingerMs = (watched.serving ?? []).length > 0 ? LINGER_MS : LINGER_EMPTY_MS;
    watched.cancelPlan = this.#clock.after(lingerMs, () => this.#end(service, watched));
  }

  #end(service: string, watched: Watched): void {
    this.#watched.delete(service);
    this.#served -= watched.serving?.length ?? 0;
    this.#directory.unfollow(service);
    this.#remember(service, watched.serving);
  }

  #endOneUnwatched(): void {
    for (const [service, watched] of this.#watched) {
      if (watched.watches.size > 0) continue;
      watched.cancelPlan();
      this.#end(service, watched);
      return;
    }
  }

  #changed(list: ServiceList): void {
    const watched = this.#watched.get(list.service);
    if (watched === undefined) return;
    watched.fromDisk = false;
    const nowMs = this.#clock.monotonicMs();
    const { protection } = watched;
    protection.update(list.instances(), (id) => list.hasLeft(id), nowMs, nowMs < this.#doubtUntilMs);
    this.#serve(list.service, watched, list);
  }

  #serve(service: string, watched: Watched, list: ServiceList | undefined): void {
    const all = [...watched.protection.serving()];
    const online = list === undefined ? all : all.filter(({ id }) => !list.isOffline(id));
    // A watcher that takes everybody out is wrong whatever it saw.
    const serving = online.length > 0 ? online : all;
    serving.sort(byId);
    this.#setServing(watched, Object.freeze(serving));
    this.#cached.delete(service);
    this.#cacheWriter?.changed();
    for (const watch of [...watched.watches]) {
      if (watched.watches.has(watch)) watch.tell(serving);
    }
    this.#boundInstances();
  }

  #setServing(watched: Watched, serving: readonly Instance[]): void {
    this.#served += serving.length - (watched.serving?.length ?? 0);
    watched.serving = serving;
  }

  #boundInstances(): void {
    const { maxInstances } = this.#options;
    const text = `${this.#served} instances are watched, more than limits.instances, ${maxInstances}`;
    this.#board.set('limit', this.#served > maxInstances ? text : null);
  }

  /** The last list of a service that nobody watches any more stays on disk, as when an agent stops. */
  #remember(service: string, serving: readonly Instance[] | null): void {
    if (serving === null || serving.length === 0) return;
    const [oldest] = this.#cached.keys();
    if (this.#cached.size >= this.#options.maxServices && oldest !== undefined) this.#cached.delete(oldest);
    this.#cached.set(service, serving);
    this.#cacheWriter?.changed();
  }

  #readCache(): void {
    const { cacheFile } = this.#options;
    const found = cacheFile === null ? null : readCachedLists(cacheFile);
    if (found === null) return;
    if ('wrong' in found) {
      this.#board.set('cache', `${cacheFile} is not used: ${found.wrong}`);
      return;
    }
    this.#usable = true;
    for (const [service, instances] of found.services) this.#cached.set(service, instances);
  }

  /** Also what was on disk and nobody asked for yet stays there. */
  *#listsToKeep(): Generator<[string, readonly Instance[]]> {
    yield* this.#cached;
    for (const [service, { serving }] of this.#watched) if (serving !== null) yield [service, serving];
  }

  /** What was held long enough goes, with nothing else having changed. */
  #scheduleExpiry(): void {
    this.#cancelExpiry = this.#clock.after(this.#options.sweepMs, () => {
      if (this.#closed) return;
      const nowMs = this.#clock.monotonicMs();
      for (const [service, watched] of this.#watched) {
        // As long as Redis does not answer, nobody's absence means anything.
        if (this.#client.connected && watched.protection.expire(nowMs)) {
          this.#serve(service, watched, this.#directory.list(service));
        }
      }
      this.#scheduleExpiry();
    });
  }
}

function mapById(instances: readonly Instance[]): Map<string, Instance> {
  return new Map(instances.map((instance) => [instance.id, instance]));
}
