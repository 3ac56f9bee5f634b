/**
 * The services in Redis that somebody here follows. Each is read once, then kept current by notifications; each sweep
 * compares versions, which finds what notifications missed and lets leases end. A change of one service costs that
 * service only. Used by the Redis registry for what its agent calls, and by the watcher for everything.
 */
import type { Clock } from '../clock.js';
import type { RedisClient } from './redis-client.js';
import { ServiceList } from './service-list.js';
import { keysOf } from './service-keys.js';
import type { ServiceKeys } from './service-keys.js';

/** Changes are gathered this long before they are passed on. */
const GATHER_MS = 20;
/** Services read at a time; more would make Redis' answers late. */
const PARALLEL = 64;

/** See the file's head. */
export interface RedisDirectoryOptions {
  readonly client: RedisClient;
  readonly prefix: string;
  /** Time between two comparisons of versions. */
  readonly sweepMs: number;
  /** Instances of one service, at most. */
  readonly maxInstances: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** A followed service was read for the first time or has changed. */
  onChange(list: ServiceList): void;
  /** Says what is wrong with something; null: nothing any more. */
  problem(source: string, text: string | null): void;
}

interface Followed {
  readonly list: ServiceList;
  readonly keys: ServiceKeys;
  reading: boolean;
  /** Asked for while it was being read. */
  again: boolean;
  cancelGather: (() => void) | null;
}

/** See the file's head. */
export class RedisDirectory {
  readonly #followed = new Map<string, Followed>();
  readonly #byChannel = new Map<string, Followed>();
  readonly #waiting: Followed[] = [];
  #running = 0;
  #cancelSweep: () => void = () => undefined;
  #closed = false;

  constructor(private readonly options: RedisDirectoryOptions) {
    this.#scheduleSweep();
  }

  get size(): number {
    return this.#followed.size;
  }

  /** Begins to follow a service. */
  follow(service: string): void {
    if (this.#followed.has(service)) return;
    const keys = keysOf(this.options.prefix, service);
    const followed: Followed = {
      list: new ServiceList(service),
      keys,
      reading: false,
      again: false,
      cancelGather: null,
    };
    this.#followed.set(service, followed);
    this.#byChannel.set(keys.changes, followed);
    // Read at once, and again behind the subscription, so that nothing falls between the two.
    this.#read(followed);
    void this.options.client.subscribe(keys.changes).then(() => this.#read(followed));
  }

  unfollow(service: string): void {
    const followed = this.#followed.get(service);
    if (followed === undefined) return;
    this.#followed.delete(service);
    this.#byChannel.delete(followed.keys.changes);
    followed.cancelGather?.();
    this.options.client.unsubscribe(followed.keys.changes);
    this.options.problem(`service ${service}`, null);
  }

  list(service: string): ServiceList | undefined {
    return this.#followed.get(service)?.list;
  }

  *lists(): Generator<ServiceList> {
    for (const { list } of this.#followed.values()) yield list;
  }

  /** A message came on a service's channel. */
  told(channel: string, message: string): void {
    const followed = this.#byChannel.get(channel);
    if (followed === undefined) return;
    if (followed.list.follow(message)) this.#changed(followed);
    else this.#read(followed);
  }

  /** Compares the versions of all followed services now. */
  readAll(): void {
    for (const followed of this.#followed.values()) this.#read(followed);
  }

  close(): void {
    this.#closed = true;
    this.#cancelSweep();
    for (const { cancelGather } of this.#followed.values()) cancelGather?.();
    this.#followed.clear();
    this.#byChannel.clear();
  }

  #read(followed: Followed): void {
    if (followed.reading) {
      followed.again = true;
      return;
    }
    followed.reading = true;
    this.#waiting.push(followed);
    this.#next();
  }

  #next(): void {
    while (this.#running < PARALLEL) {
      const followed = this.#waiting.shift();
      if (followed === undefined) return;
      this.#running += 1;
      void this.#readNow(followed).finally(() => {
        this.#running -= 1;
        followed.reading = false;
        if (followed.again) {
          followed.again = false;
          this.#read(followed);
        }
        this.#next();
      });
    }
  }

  async #readNow(followed: Followed): Promise<void> {
    const { list, keys } = followed;
    const { client, maxInstances } = this.options;
    if (this.#closed || this.#followed.get(list.service) !== followed) return;
    const before = list.version;
    try {
      const answer = await client.run('ringsideRead', keys, before ?? '-', maxInstances);
      if (this.#closed || this.#followed.get(list.service) !== followed) return;
      const [version] = answer as [string];
      if (list.version !== before && list.version !== version) {
        // Notifications overtook the answer.
        followed.again = true;
        return;
      }
      if (list.replace(answer)) this.#changed(followed);
      this.options.problem(`service ${list.service}`, list.problem);
    } catch {
      // The client has told of it; the next sweep asks again.
    }
  }

  #changed(followed: Followed): void {
    followed.cancelGather ??= this.options.clock.after(GATHER_MS, () => {
      followed.cancelGather = null;
      this.options.onChange(followed.list);
    });
  }

  #scheduleSweep(): void {
    const { sweepMs, random, clock } = this.options;
    this.#cancelSweep = clock.after(sweepMs * (0.8 + 0.2 * random()), () => {
      if (this.#closed) return;
      this.options.client.probe();
      this.readAll();
      this.#scheduleSweep();
    });
  }
}
