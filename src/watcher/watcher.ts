/**
 * The watcher: follows every service in Redis, probes every instance's address, and takes those that do not answer out of
 * the online list, within the bounds of src/policy/liveness.ts. Several may run: one is active by a lease in Redis, the
 * others stand by, probing as well, so that a takeover decides at once. What must stay true: whoever lost the lease changes
 * nothing any more; each change names the term of its election, and Redis refuses those of an earlier one.
 */
import { errorText } from '../base/errors.js';
import { mayAct } from '../policy/election.js';
import type { HeldLease } from '../policy/election.js';
import { decideLiveness, ProbeRecord } from '../policy/liveness.js';
import type { Judged, LivenessBounds } from '../policy/liveness.js';
import { Probe } from '../probe/probe.js';
import { systemClock } from '../registry/clock.js';
import { MESH_PROTOCOL } from '../registry/instance.js';
import type { Instance } from '../registry/instance.js';
import { RedisClient } from '../registry/redis/redis-client.js';
import type { RedisClientOptions } from '../registry/redis/redis-client.js';
import { RedisDirectory } from '../registry/redis/redis-directory.js';
import { keysOf, servicesKey, watcherKey } from '../registry/redis/service-keys.js';

/** Services without a registration for so long are forgotten. */
const SERVICE_MS = 3_600_000;
/** Addresses probed at a time. */
const PARALLEL = 256;
/** Instances of one service, at most. */
const MAX_INSTANCES = 100_000;
/** A mark ends by itself after so many rounds without renewal, so that no instance stays out because all watchers died. */
const MARK_ROUNDS = 20;

/** See the file's head. */
export interface WatcherOptions {
  readonly redis: Pick<RedisClientOptions, 'address' | 'ca' | 'sentinelPassword' | 'timeoutMs'>;
  readonly prefix: string;
  /** Names this watcher among others. */
  readonly name: string;
  readonly bounds: LivenessBounds;
  /** Time between two rounds, and how long an answer may take. */
  readonly intervalMs: number;
  readonly probeTimeoutMs: number;
  /** Lease of the active watcher. */
  readonly leaseMs: number;
  /** Told of everything worth a line in a log. */
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void;
}

interface Target {
  readonly probe: Probe;
  readonly record: ProbeRecord;
}

/** See the file's head. */
export class Watcher {
  readonly #client: RedisClient;
  readonly #directory: RedisDirectory;
  readonly #targets = new Map<string, Target>();
  #lease: HeldLease | null = null;
  #holder = '';
  #problem: string | null = null;
  #spared = 0;
  #closed = false;
  #timers = new Set<() => void>();

  constructor(private readonly options: WatcherOptions) {
    const { redis, prefix, intervalMs } = options;
    this.#client = new RedisClient({
      ...redis,
      onHealth: (problem) => this.#say(problem),
      onMessage: (channel, text) => this.#directory.told(channel, text),
      onNotifying: () => this.#directory.readAll(),
    });
    this.#directory = new RedisDirectory({
      ...{ client: this.#client, prefix, sweepMs: Math.max(intervalMs, 1_000), maxInstances: MAX_INSTANCES },
      ...{ clock: systemClock, random: Math.random },
      onChange: () => undefined,
      problem: (_source, text) => {
        if (text !== null) options.log('warn', 'an entry in Redis is wrong', { problem: text });
      },
    });
    this.#every(options.leaseMs / 4, () => this.#elect());
    this.#every(intervalMs, () => this.#round());
  }

  /** Whether this one acts now. */
  get active(): boolean {
    return mayAct(this.#lease, performance.now());
  }

  /** Gives the lease back and ends; marks end by themselves unless another watcher renews them. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#timers) cancel();
    this.#lease = null;
    const { prefix, name, leaseMs } = this.options;
    await this.#client.elect(watcherKey(prefix), name, leaseMs, true).catch(() => undefined);
    this.#directory.close();
    this.#client.close();
    for (const { probe } of this.#targets.values()) probe.close();
  }

  async #elect(): Promise<void> {
    const { prefix, name, leaseMs, log } = this.options;
    const askedMs = performance.now();
    const [term, holder] = await this.#client.elect(watcherKey(prefix), name, leaseMs);
    if (this.#closed) return;
    const before = this.#lease?.term;
    this.#lease = term > 0 ? { term, askedMs, leaseMs } : null;
    if (term > 0 && term !== before) log('info', 'this watcher is active', { term });
    else if (term === 0 && holder !== this.#holder) log('info', 'this watcher stands by', { active: holder });
    this.#holder = holder;
  }

  async #round(): Promise<void> {
    const { prefix, bounds, probeTimeoutMs } = this.options;
    const key = servicesKey(prefix);
    const services = new Set(await this.#client.services(key, SERVICE_MS));
    for (const service of services) this.#directory.follow(service);
    for (const { service } of [...this.#directory.lists()]) {
      if (!services.has(service)) this.#directory.unfollow(service);
    }
    const instances = [...this.#directory.lists()].flatMap((list) =>
      [...list.instances().values()].map((instance) => ({ instance, offline: list.isOffline(instance.id) })),
    );
    await this.#probe(new Set(instances.map(({ instance }) => targetOf(instance))), probeTimeoutMs);
    const judged = instances.map(({ instance, offline }): Judged => {
      const { id, service } = instance;
      const record = this.#targets.get(targetOf(instance))?.record;
      return { id, service, offline, verdict: record?.verdict(bounds) ?? 'unsure' };
    });
    await this.#act(judged);
  }

  async #probe(wanted: ReadonlySet<string>, timeoutMs: number): Promise<void> {
    for (const [name, { probe }] of this.#targets) {
      if (wanted.has(name)) continue;
      probe.close();
      this.#targets.delete(name);
    }
    const queue = [...wanted];
    const worker = async (): Promise<void> => {
      for (let name = queue.pop(); name !== undefined && !this.#closed; name = queue.pop()) {
        const target = this.#targets.get(name) ?? { probe: probeOf(name), record: new ProbeRecord() };
        this.#targets.set(name, target);
        target.record.add((await target.probe.ask(timeoutMs)) === undefined);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, queue.length) }, worker));
  }

  async #act(judged: readonly Judged[]): Promise<void> {
    const { bounds, intervalMs, log } = this.options;
    const { out, back, spared } = decideLiveness(judged, bounds);
    if (!this.active) return;
    if (spared.length !== this.#spared) {
      const fields = { spared: spared.length, maxShare: bounds.maxShare };
      if (spared.length > 0) log('warn', 'more instances fail than may be taken out at once', fields);
      this.#spared = spared.length;
    }
    const markMs = MARK_ROUNDS * intervalMs;
    for (const [service, ids] of byService(out)) await this.#mark('ringsideTakeOut', service, markMs, ids);
    for (const [service, ids] of byService(back)) await this.#mark('ringsidePutBack', service, 0, ids);
    const gone = out.filter(({ offline }) => !offline);
    for (const { id, service } of gone.slice(0, 100)) log('warn', 'taken out', { service, instance: id });
    for (const { id, service } of back.slice(0, 100)) log('info', 'put back', { service, instance: id });
  }

  async #mark(
    script: 'ringsideTakeOut' | 'ringsidePutBack',
    service: string,
    ms: number,
    ids: readonly string[],
  ): Promise<void> {
    const lease = this.#lease;
    if (!mayAct(lease, performance.now())) return;
    const answer = await this.#client.run(
      script,
      keysOf(this.options.prefix, service),
      lease.term,
      ms,
      ...ids,
    );
    if (answer === -1) this.#lease = null;
  }

  #say(problem: string | null): void {
    if ((problem === null) === (this.#problem === null)) return;
    this.#problem = problem;
    if (problem === null) this.options.log('info', 'Redis answers again', {});
    else this.options.log('warn', 'Redis is in trouble; nothing is taken out meanwhile', { problem });
  }

  /** Runs something again and again, each time that long after it has ended. */
  #every(ms: number, work: () => Promise<void>): void {
    const run = (): void => {
      void work()
        .catch((error: unknown) => {
          // Trouble with Redis was told by the client.
          if (this.#problem === null) this.options.log('warn', 'a round failed', { error: errorText(error) });
        })
        .finally(() => {
          if (this.#closed) return;
          const timer = setTimeout(() => {
            this.#timers.delete(cancel);
            run();
          }, ms);
          const cancel = (): void => clearTimeout(timer);
          this.#timers.add(cancel);
        });
    };
    run();
  }
}

/** What is probed of an instance; instances behind one agent share it. */
function targetOf({ host, port, protocols }: Instance): string {
  return `${protocols.includes(MESH_PROTOCOL) ? 'mesh' : 'legacy'} ${host} ${port}`;
}

function probeOf(target: string): Probe {
  const [kind, host = '', port] = target.split(' ');
  const probe = kind === 'mesh' ? 'mesh-ping' : 'legacy-ping';
  return new Probe({ host, port: Number(port) }, probe, 'ringside-watcher');
}

function byService(judged: readonly Judged[]): Map<string, string[]> {
  const ids = new Map<string, string[]>();
  for (const { service, id } of judged) ids.set(service, [...(ids.get(service) ?? []), id]);
  return ids;
}
