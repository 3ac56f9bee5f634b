/**
 * The connections to Redis: one for commands, one for notifications; a single server, servers behind sentinels or a
 * cluster look alike from here. Used by the Redis registry and the watcher. What must stay true: nothing waits longer
 * than its timeout, nothing is queued while there is no connection, and a connection that died without a word is
 * noticed and replaced, with jitter.
 */
import { Cluster, Redis } from 'ioredis';
import type { ClusterOptions, RedisOptions } from 'ioredis';
import { errorText, MeshError } from '../../base/errors.js';
import { backoffMs } from '../../policy/backoff.js';
import type { RedisAddress } from '../../base/redis-url.js';
import { electScript, noteScript, scripts, servicesScript } from './scripts.js';
import type { ServiceKeys } from './service-keys.js';

/** See the file's head. */
export interface RedisClientOptions {
  readonly address: RedisAddress;
  /** PEM text of the authorities that are trusted for TLS; undefined: the system's. */
  readonly ca?: string | undefined;
  /** Password of the sentinels, where they have one. */
  readonly sentinelPassword?: string | undefined;
  /** How long one command, or connecting, may take. */
  readonly timeoutMs: number;
  readonly random?: () => number;
  /** Told after each command what is wrong with Redis; null: nothing. */
  onHealth?(problem: string | null): void;
  /** A message on a channel that was subscribed to. */
  onMessage?(channel: string, text: string): void;
  /** Notifications flow (again): what was told before this moment may have been missed. */
  onNotifying?(): void;
}

export type ScriptName = keyof typeof scripts;

const reconnect = { baseMs: 100, maxMs: 2_000 };
/** Channels named in one SUBSCRIBE, at most. */
const CHANNELS_AT_A_TIME = 256;
const serviceKeyCount = 5;
const onOneKey = { ringsideElect: electScript, ringsideNote: noteScript, ringsideServices: servicesScript };

type Client = (Redis | Cluster) & Record<string, (...args: (string | number)[]) => Promise<unknown>>;

/** See the file's head. */
export class RedisClient {
  /** Resolves when commands can be sent and notifications flow for the first time. */
  readonly ready: Promise<void>;
  readonly #commands: Client;
  readonly #subscriber: Redis | Cluster;
  readonly #channels = new Set<string>();
  #lastError: string | null = null;
  #closed = false;

  constructor(private readonly options: RedisClientOptions) {
    this.#commands = this.#open() as Client;
    for (const [name, lua] of Object.entries(scripts)) {
      this.#commands.defineCommand(name, { lua, numberOfKeys: serviceKeyCount });
    }
    for (const [name, lua] of Object.entries(onOneKey)) {
      this.#commands.defineCommand(name, { lua, numberOfKeys: 1 });
    }
    this.#subscriber = this.#open();
    this.#subscriber.on('message', (channel: string, text: string) => options.onMessage?.(channel, text));
    let notifying = (): void => undefined;
    this.ready = Promise.all([
      new Promise((resolve) => this.#commands.once('ready', resolve)),
      new Promise<void>((resolve) => (notifying = resolve)),
    ]).then(() => undefined);
    this.#subscriber.on('ready', () => {
      void this.#subscribe([...this.#channels]).then(
        () => {
          notifying();
          options.onNotifying?.();
        },
        () => undefined,
      );
    });
    for (const client of [this.#commands, this.#subscriber]) {
      client.on('error', (error: Error) => (this.#lastError = errorText(error)));
      client.on('end', () => this.#connectLater(client));
      client.connect().catch((error: unknown) => (this.#lastError = errorText(error)));
    }
  }

  /** The library gives up where it cannot begin, as when no sentinel names a master; we never do. */
  #connectLater(client: Redis | Cluster): void {
    if (this.#closed) return;
    const delayMs = backoffMs(8, reconnect, this.options.random ?? Math.random);
    const connect = (): void => {
      if (this.#closed || client.status !== 'end') return;
      client.connect().catch((error: unknown) => (this.#lastError = errorText(error)));
    };
    setTimeout(connect, delayMs).unref();
  }

  /** Whether commands can be sent now. */
  get connected(): boolean {
    return this.#commands.status === 'ready';
  }

  /** Runs a script on the keys of a service. @throws {MeshError} UNAVAILABLE, in words for an operator */
  async run(script: ScriptName, keys: ServiceKeys, ...args: (string | number)[]): Promise<unknown> {
    const { instances, leases, meta, left, offline, changes } = keys;
    return this.#ask((client) => client[script]!(instances, leases, meta, left, offline, changes, ...args));
  }

  /**
   * Asks to be the active watcher, or to stay it.
   * @returns the term, 0 if another holds the lease, and who holds it
   */
  async elect(key: string, name: string, leaseMs: number, giveBack = false): Promise<[number, string]> {
    const answer = await this.#ask((client) =>
      client['ringsideElect']!(key, name, leaseMs, giveBack ? 1 : 0),
    );
    const [term, holder] = answer as [string, string];
    return [Number(term), holder];
  }

  /** Notes that a service has instances. */
  async noteService(key: string, service: string): Promise<void> {
    await this.#ask((client) => client['ringsideNote']!(key, service));
  }

  /** The services noted within the last `withinMs`; older ones are forgotten. */
  async services(key: string, withinMs: number): Promise<string[]> {
    return (await this.#ask((client) => client['ringsideServices']!(key, withinMs))) as string[];
  }

  /** Subscribes now, or when there is a connection, and again after each new one. */
  async subscribe(channel: string): Promise<void> {
    this.#channels.add(channel);
    await this.#subscribe([channel]).catch(() => undefined);
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(channel);
    this.#subscriber.unsubscribe(channel).catch(() => undefined);
  }

  /** Asks both connections for a sign of life; one that gives none is replaced. */
  probe(): void {
    if (this.#subscriber.status === 'ready') this.#subscriber.ping().catch(() => undefined);
    this.#ask((client) => client.ping()).catch(() => undefined);
  }

  close(): void {
    this.#closed = true;
    for (const client of [this.#commands, this.#subscriber]) client.disconnect();
  }

  async #ask<T>(ask: (client: Client) => Promise<T>): Promise<T> {
    try {
      const answer = await ask(this.#commands);
      this.#lastError = null;
      this.options.onHealth?.(null);
      return answer;
    } catch (error) {
      // Without a connection the client says only that; why there is none was said before.
      const text = this.connected ? errorText(error) : (this.#lastError ?? errorText(error));
      const problem = `Redis at ${this.options.address.shown}: ${text}`;
      this.options.onHealth?.(problem);
      throw new MeshError('UNAVAILABLE', problem, { cause: error });
    }
  }

  async #subscribe(channels: string[]): Promise<void> {
    for (let at = 0; at < channels.length; at += CHANNELS_AT_A_TIME) {
      await this.#subscriber.subscribe(...channels.slice(at, at + CHANNELS_AT_A_TIME));
    }
  }

  #open(): Redis | Cluster {
    const { address, ca, sentinelPassword, timeoutMs, random = Math.random } = this.options;
    const { kind, nodes, tls, username, password, db, master } = address;
    const retry = (attempt: number): number | null =>
      this.#closed ? null : backoffMs(attempt, reconnect, random);
    const tlsOptions = tls ? { tls: ca === undefined ? {} : { ca } } : {};
    const common = {
      ...tlsOptions,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      connectionName: 'ringside',
      connectTimeout: timeoutMs,
      commandTimeout: timeoutMs,
      socketTimeout: 2 * timeoutMs,
      // Answers to what was asked over a connection that is gone are of no use.
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      protocol: 2,
    } satisfies RedisOptions;
    if (kind === 'cluster') {
      const options: ClusterOptions = {
        redisOptions: common,
        clusterRetryStrategy: retry,
        enableOfflineQueue: false,
        lazyConnect: true,
        slotsRefreshTimeout: timeoutMs,
      };
      return new Cluster([...nodes], options);
    }
    return new Redis({
      ...common,
      db,
      retryStrategy: retry,
      enableOfflineQueue: false,
      lazyConnect: true,
      // A master that became a replica: whoever asks again finds the new one.
      reconnectOnError: (error) => error.message.includes('READONLY'),
      ...(kind === 'sentinel'
        ? {
            sentinels: nodes.map(({ host, port }) => ({ host, port })),
            name: master ?? '',
            sentinelRetryStrategy: retry,
            sentinelCommandTimeout: timeoutMs,
            ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
            ...(tls ? { enableTLSForSentinelMode: true } : {}),
          }
        : { host: nodes[0]?.host ?? '', port: nodes[0]?.port ?? 0 }),
    });
  }
}
