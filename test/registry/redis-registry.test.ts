import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/base/redis-url.js';
import type { RedisAddress } from '../../src/base/redis-url.js';
import type { Instance } from '../../src/registry/instance.js';
import { RedisClient } from '../../src/registry/redis/redis-client.js';
import { openRedisRegistry } from '../../src/registry/redis/redis-registry.js';
import type { RedisRegistry, RedisRegistryOptions } from '../../src/registry/redis/redis-registry.js';
import { keysOf } from '../../src/registry/redis/service-keys.js';
import { hasOpenssl, makeCertificate } from '../support/certificate.js';
import { RedisProcess, hasRedis } from '../support/redis-process.js';
import { steadyPort } from '../support/steady-port.js';
import { until } from '../support/until.js';
import { instanceOf } from './registry-fixture.js';

const ids = (list: readonly Instance[] | undefined): string[] => (list ?? []).map(({ id }) => id);

describe.skipIf(!hasRedis)('the Redis registry', { timeout: 60_000 }, () => {
  let redis: RedisProcess;
  let directory: string;
  let prefix: string;
  let open: RedisRegistry[];
  let tests = 0;

  beforeAll(async () => {
    redis = await RedisProcess.start();
  });
  afterAll(() => redis.close());
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ringside-registry-'));
    prefix = `t${tests++}`;
    open = [];
  });
  afterEach(async () => {
    await Promise.all(open.map((registry) => registry.close()));
    rmSync(directory, { recursive: true, force: true });
  });

  async function registryOf(change: Partial<RedisRegistryOptions> = {}): Promise<RedisRegistry> {
    const registry = await openRedisRegistry({
      address: parseRedisUrl(redis.url) as RedisAddress,
      prefix,
      timeoutMs: 1_000,
      leaseMs: 10_000,
      sweepMs: 200,
      protection: { share: 0.5, holdMs: 60_000 },
      cacheFile: null,
      maxInstances: 10_000,
      maxServices: 100,
      ...change,
    });
    open.push(registry);
    return registry;
  }

  /** The latest list of a service as a registry tells it. */
  function follow(
    registry: RedisRegistry,
    service = 'orders',
    group?: string,
  ): () => readonly Instance[] | undefined {
    let latest: readonly Instance[] | undefined;
    registry.watch(service, group, (list) => (latest = list));
    return () => latest;
  }

  it('tells an empty list of a service that nobody serves', async () => {
    const list = follow(await registryOf());
    await until('the first list', () => list() !== undefined);
    expect(list()).toEqual([]);
  });

  it('names without instances leave no key, however often they are asked for, and are soon followed no more', async () => {
    const registry = await registryOf({ sweepMs: 50, maxServices: 1_000 });
    const names = Array.from({ length: 900 }, (_, i) => `invented-${i}`);
    const answered = new Set<string>();
    const ends = names.map((name) => registry.watch(name, undefined, () => answered.add(name)));
    await until('every first list', () => answered.size === names.length);
    const keys = async (): Promise<string[]> => (await redis.ask('keys', `${prefix}:*`)) as string[];
    await registry.register(instanceOf({ id: 'a' }));
    const swept = follow(registry);
    await until('the sweeps to go on', () => swept()?.length === 1);
    const left = await keys();
    expect(left.filter((key) => key.includes('invented'))).toEqual([]);
    expect(left.length).toBeGreaterThan(0);
    for (const end of ends) end();
    await until('them to be forgotten', () => registry.view().services === 1);
  });

  it('the keys of a service that nobody serves any more end, although somebody goes on asking', async () => {
    const registry = await registryOf({ sweepMs: 50 });
    const list = follow(registry);
    const registration = await registry.register(instanceOf({ id: 'a' }));
    await until('it to be seen', () => list()?.length === 1);
    const { meta } = keysOf(prefix, 'orders');
    await registration.deregister();
    await until('it to be gone', () => list()?.length === 0);
    await redis.ask('pexpire', meta, 1_000);
    await until('its keys to end', async () => (await redis.ask('exists', meta)) === 0);
    await registry.register(instanceOf({ id: 'b' }));
    await until('a new one to be seen', () => ids(list())[0] === 'b');
  });

  it('shows what is registered to others, with every field, until it is deregistered', async () => {
    const [near, far] = [await registryOf(), await registryOf()];
    const list = follow(far);
    const instance = instanceOf({ id: 'a', zone: 'east', weight: 7, metadata: { k: 'ü\n'.trim() } });
    const registration = await near.register(instance);
    await until('it to be seen', () => ids(list())[0] === 'a');
    expect(list()).toEqual([instance]);
    await registration.update({ weight: 9 });
    await until('the change', () => list()?.[0]?.weight === 9);
    await registration.deregister();
    await until('it to be gone', () => list()?.length === 0);
    // Leaving is no loss: nothing is protected.
    expect(far.view()).toMatchObject({ protected: [], instances: 0, connected: true, problem: null });
  });

  it('tells watchers of a group that group only', async () => {
    const registry = await registryOf();
    const [all, blue] = [follow(registry), follow(registry, 'orders', 'blue')];
    await registry.register(instanceOf({ id: 'a' }));
    await registry.register(instanceOf({ id: 'b', group: 'blue' }));
    await until('both', () => all()?.length === 2);
    expect(ids(blue())).toEqual(['b']);
  });

  it('keeps services apart whose names look like keys, patterns or hash tags', async () => {
    const registry = await registryOf();
    const names = ['a', '{a}', 'a}:instances', '*', 'a b', 'ü/%7B', 'watcher', 'constructor'];
    const lists = names.map((name) => follow(registry, name));
    for (const service of names) await registry.register(instanceOf({ id: `of ${service}`, service }));
    await until('all', () => lists.every((list) => list()?.length === 1));
    expect(lists.map((list) => ids(list()))).toEqual(names.map((name) => [`of ${name}`]));
  });

  it('a newer registration of the same instance stands, and the older one lets go of it', async () => {
    const [older, newer] = [await registryOf({ leaseMs: 1_000 }), await registryOf({ leaseMs: 1_000 })];
    const list = follow(older);
    const first = await older.register(instanceOf({ id: 'a', epoch: 1, port: 1001 }));
    await newer.register(instanceOf({ id: 'a', epoch: 2, port: 1002 }));
    await expect(older.register(instanceOf({ id: 'a', epoch: 1 }))).rejects.toMatchObject({
      status: 'ALREADY_EXISTS',
    });
    const third = await registryOf();
    await expect(third.register(instanceOf({ id: 'a', epoch: 1 }))).rejects.toMatchObject({
      status: 'ALREADY_EXISTS',
    });
    await until('the older one to notice', () => /newer process/.test(older.problem ?? ''));
    await first.deregister();
    await until('the newer one', () => list()?.[0]?.port === 1002);
    expect(older.problem).toBeNull();
  });

  it('ends the lease of an agent that is gone, and keeps that of one that lives', async () => {
    const near = await registryOf();
    const list = follow(near);
    for (const id of ['a', 'b', 'c']) await near.register(instanceOf({ id }));
    await leaveBehind(instanceOf({ id: 'dead' }), 1_000);
    await until('all four', () => list()?.length === 4);
    await until('three', () => list()?.length === 3);
    expect(ids(list())).toEqual(['a', 'b', 'c']);
  });

  /** Takes an instance out, as the watcher does. */
  async function takeOut(id: string): Promise<void> {
    const client = new RedisClient({ address: parseRedisUrl(redis.url) as RedisAddress, timeoutMs: 1_000 });
    await until('a connection', () => client.connected);
    await client.run('ringsideTakeOut', keysOf(prefix, 'orders'), '1', '60000', id);
    client.close();
  }

  /** Leaves an instance behind, as an agent does that registered it and died. */
  async function leaveBehind(instance: Instance, leaseMs: number): Promise<void> {
    const client = new RedisClient({ address: parseRedisUrl(redis.url) as RedisAddress, timeoutMs: 1_000 });
    await until('a connection', () => client.connected);
    const keys = keysOf(prefix, instance.service);
    await client.run('ringsideRegister', keys, instance.id, '1', JSON.stringify(instance), leaseMs);
    client.close();
  }

  it('finds what a lost notification said', async () => {
    const [near, far] = [await registryOf(), await registryOf()];
    const list = follow(far);
    await near.register(instanceOf({ id: 'a' }));
    await until('the first', () => list()?.length === 1);
    const channel = `${prefix}:{orders}:changes`;
    // A writer that tells nobody, as when a notification is lost.
    const json = JSON.stringify(instanceOf({ id: 'b' }));
    await redis.ask('hset', `${prefix}:{orders}:instances`, 'b', `1 ${json}`);
    await redis.ask('zadd', `${prefix}:{orders}:leases`, 1e15, 'b');
    await redis.ask('hincrby', `${prefix}:{orders}:meta`, 'v', 1);
    await until('the second', () => list()?.length === 2);
    // A notification out of order, and one that is garbage, do no harm.
    await redis.ask('publish', channel, '1 2 + {"id":"x"}');
    await redis.ask('publish', channel, 'garbage');
    await until('nothing to change', () => list()?.length === 2);
  });

  it('an instance that is garbage is left out and named', async () => {
    const registry = await registryOf();
    const list = follow(registry);
    await registry.register(instanceOf({ id: 'a' }));
    await redis.ask('hset', `${prefix}:{orders}:instances`, 'bad', '1 {"id":');
    await redis.ask(
      'hset',
      `${prefix}:{orders}:instances`,
      'worse',
      `1 ${JSON.stringify({ ...instanceOf({ id: 'worse' }), host: 'no address' })}`,
    );
    await redis.ask('hincrby', `${prefix}:{orders}:meta`, 'v', 1);
    await until('the problem', () => registry.problem?.includes('an instance of orders in Redis is wrong'));
    expect(ids(list())).toEqual(['a']);
  });

  it('a flushed Redis empties nothing, says what is held, and gets everything back', async () => {
    const [near, far] = [await registryOf({ leaseMs: 3_000 }), await registryOf()];
    const list = follow(far);
    const seen = new Set<number>();
    far.watch('orders', undefined, (instances) => seen.add(instances.length));
    for (const id of ['a', 'b', 'c']) await near.register(instanceOf({ id }));
    await until('all', () => list()?.length === 3);
    seen.clear();
    await redis.ask('flushall');
    await until('the protection', () => far.view().protected.length === 1);
    expect(far.view().protected).toEqual([{ service: 'orders', instances: 3 }]);
    await until(
      'the owners to write again',
      async () => (await redis.ask('hlen', `${prefix}:{orders}:instances`)) === 3,
    );
    await until('the end of the protection', () => far.view().protected.length === 0);
    expect(ids(list())).toEqual(['a', 'b', 'c']);
    expect([...seen].filter((length) => length !== 3)).toEqual([]);
  });

  it('what is held goes when its time is over', async () => {
    const far = await registryOf({ protection: { share: 0.5, holdMs: 700 } });
    const list = follow(far);
    await leaveBehind(instanceOf({ id: 'a' }), 60_000);
    await until('it', () => list()?.length === 1);
    await redis.ask('flushall');
    await until('it to be held', () => far.view().protected.length === 1);
    await until('it to be gone', () => list()?.length === 0);
  });

  it('what one process knows another goes on with: whom it holds and for how long, and who is out', async () => {
    const protection = { share: 0.5, holdMs: 1_500 };
    const old = await registryOf({ protection });
    const list = follow(old);
    for (const id of ['a', 'b', 'c', 'out']) await leaveBehind(instanceOf({ id }), 60_000);
    await takeOut('out');
    await until(
      'three, and one that is out',
      () => ids(list()).join() === 'a,b,c' && old.view().offline === 1,
    );
    const well = old.export();
    await redis.ask('flushall');
    await until('all to be held', () => old.view().protected[0]?.instances === 4);
    const held = old.export();
    expect(held.services).toMatchObject([{ service: 'orders', listed: [], protecting: true }]);

    for (const [state, expected] of [
      [well, 'a,b,c'],
      [held, 'a,b,c,out'],
    ] as const) {
      const next = await registryOf({ protection });
      next.adopt(JSON.parse(JSON.stringify(state)) as typeof state);
      const seen: string[] = [];
      next.watch('orders', undefined, (instances) => seen.push(ids(instances).join()));
      // At once, without having asked Redis, where nobody is left.
      expect(seen).toEqual([expected]);
      await until('the loss to be seen', () => next.view().protected[0]?.instances === 4);
      await until('the end of the protection', () => next.view().protected.length === 0);
      expect(seen.filter((each) => each === '').length).toBe(1);
    }
  });

  it('holds whoever vanishes after a process that could not reach Redis has handed over', async () => {
    const own = await RedisProcess.start();
    try {
      const address = parseRedisUrl(own.url) as RedisAddress;
      const bounds = { address, timeoutMs: 200, protection: { share: 1, holdMs: 60_000 } };
      const old = await registryOf(bounds);
      const list = follow(old);
      const near = await registryOf({ ...bounds, leaseMs: 3_000 });
      for (const id of ['a', 'b']) await near.register(instanceOf({ id }));
      await until('both', () => list()?.length === 2);
      own.signal('SIGSTOP');
      await until('the trouble', () => old.problem !== null);
      const state = old.export();
      expect(state.doubtMs).toBeNull();
      own.signal('SIGCONT');
      await until('it to be well', () => old.problem === null);
      expect(old.export().doubtMs).toBeGreaterThan(0);
      await near.close();
      await own.ask('flushall');
      const next = await registryOf(bounds);
      next.adopt(state);
      const goneOn = follow(next);
      await until('both to be held', () => next.view().protected[0]?.instances === 2);
      expect(ids(goneOn())).toEqual(['a', 'b']);
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await own.close();
    }
  });

  it('accepts instances while Redis is down, starts from disk, and catches up', async () => {
    const cacheFile = join(directory, 'lists.json');
    const own = await RedisProcess.start();
    try {
      const address = parseRedisUrl(own.url) as RedisAddress;
      const near = await registryOf({ address, leaseMs: 3_000 });
      const far = await registryOf({ address, cacheFile });
      const list = follow(far);
      await near.register(instanceOf({ id: 'a', zone: 'east' }));
      await until('it', () => list()?.length === 1);
      await far.close();
      await own.kill();
      await until('the trouble to be named', () => near.problem?.includes(String(own.port)));

      const again = await registryOf({ address, cacheFile });
      expect(again.usable).toBe(true);
      const cached = follow(again);
      expect(cached()).toMatchObject([{ id: 'a', zone: 'east' }]);
      expect(again.view()).toMatchObject({ connected: false, fromDisk: 1 });
      await until('the trouble to be named', () => again.problem?.includes(String(own.port)));
      // Not refused: written when Redis is there.
      const late = await again.register(instanceOf({ id: 'late' }));
      expect(late.instance.id).toBe('late');
      await own.up();
      await until('both', () => ids(cached()).join() === 'a,late');
      await until('all to be well', () => near.problem === null && again.problem === null);
      expect(again.view()).toMatchObject({ connected: true, fromDisk: 0 });
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await own.close();
    }
  });

  it('does not use a file that is no good, and says so', async () => {
    const cacheFile = join(directory, 'lists.json');
    writeFileSync(cacheFile, '{"format":');
    const registry = await registryOf({ cacheFile });
    expect(registry.problem).toContain(cacheFile);
    const list = follow(registry);
    await registry.register(instanceOf({ id: 'a' }));
    await until('it', () => list()?.length === 1);
    await until('the file to be good', () => readFileSync(cacheFile, 'utf8').includes('"a"'));
    await until('it to be well', () => registry.problem === null);
  });

  it.each([
    ['a wrong password', ['--requirepass', 'secret'], 'NOAUTH'],
    ['no memory', ['--maxmemory', '1'], 'OOM'],
    ['a replica of nobody', ['--replicaof', '127.0.0.1', '1'], 'MASTERDOWN|READONLY|LOADING'],
  ])('%s: says so and goes on', async (_what, options, said) => {
    const own = await RedisProcess.start(options);
    try {
      const registry = await registryOf({ address: parseRedisUrl(own.url) as RedisAddress });
      const list = follow(registry);
      await registry.register(instanceOf({ id: 'a' }));
      await until('the trouble', () => new RegExp(said).test(registry.problem ?? ''));
      expect(list()).toBeUndefined();
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await own.close();
    }
  });

  it('uses a user and a password, from the URL or beside it', async () => {
    const own = await RedisProcess.start(['--requirepass', 'pass/word']);
    try {
      const registry = await registryOf({
        address: parseRedisUrl(`redis://:pass%2Fword@127.0.0.1:${own.port}/3`) as RedisAddress,
      });
      const list = follow(registry);
      await registry.register(instanceOf({ id: 'a' }));
      await until('it', () => list()?.length === 1);
      expect(registry.problem).toBeNull();
      expect(registry.view().address).toBe(`redis://127.0.0.1:${own.port}/3`);
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await own.close();
    }
  });

  it('a service asked for again after nobody watched it is as current as if somebody had', async () => {
    const registry = await registryOf();
    const once = (): Promise<string[]> =>
      new Promise((resolve) => {
        const end = registry.watch('orders', undefined, (list) => {
          resolve(ids(list));
          queueMicrotask(() => end());
        });
      });
    const first = await registry.register(instanceOf({ id: 'a' }));
    expect(await once()).toEqual(['a']);
    await registry.register(instanceOf({ id: 'b' }));
    await until('the second', async () => (await once()).length === 2);
    await first.deregister();
    await until('the first to be gone', async () => (await once()).join() === 'b');
  });

  it('follows a failover that sentinels make, and loses nobody', async () => {
    const [master, replica] = [await RedisProcess.start(), await RedisProcess.start()];
    await replica.ask('replicaof', '127.0.0.1', master.port);
    const sentinel = await RedisProcess.sentinel('mesh', master.port);
    try {
      await until('the sentinel to know the replica', async () => {
        const answer = await sentinel.ask('sentinel', 'replicas', 'mesh').catch(() => []);
        const known = answer as string[][];
        return known.length === 1 && known[0]?.includes('ok') && !known[0].includes('s_down');
      });
      const address = parseRedisUrl(`redis+sentinel://127.0.0.1:${sentinel.port}/mesh`) as RedisAddress;
      const [near, far] = [await registryOf({ address, leaseMs: 2_000 }), await registryOf({ address })];
      const list = follow(far);
      const lengths = new Set<number>();
      for (const id of ['a', 'b', 'c']) await near.register(instanceOf({ id }));
      await until('all', () => list()?.length === 3);
      far.watch('orders', undefined, (instances) => lengths.add(instances.length));
      await master.kill();
      await until('the trouble', () => near.problem !== null && far.problem !== null);
      await until('the promotion', async () => {
        // It closes its connections when it is promoted.
        const role = await replica.ask('role').catch(() => '');
        return String(role).startsWith('master');
      });
      await until('both to be well', () => near.problem === null && far.problem === null);
      await near.register(instanceOf({ id: 'd' }));
      await until('news', () => list()?.length === 4);
      expect([...lengths].filter((length) => length < 3)).toEqual([]);
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await Promise.all([sentinel.close(), master.close(), replica.close()]);
    }
  });

  it('works in a cluster of three', async () => {
    const nodes = await RedisProcess.cluster(3);
    try {
      const address = parseRedisUrl(`redis+cluster://127.0.0.1:${nodes[0]!.port}`) as RedisAddress;
      const [near, far] = [await registryOf({ address }), await registryOf({ address })];
      const names = Array.from({ length: 20 }, (_, i) => `service ${i}`);
      const lists = names.map((name) => follow(far, name));
      const made = await Promise.all(names.map((service) => near.register(instanceOf({ service }))));
      await until('all', () => lists.every((list) => list()?.length === 1));
      await made[7]?.deregister();
      await until('one to be gone', () => lists[7]?.()?.length === 0);
      expect([near.problem, far.problem]).toEqual([null, null]);
      for (const node of nodes) expect(Number(await node.ask('dbsize'))).toBeGreaterThan(0);
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await Promise.all(nodes.map((node) => node.close()));
    }
  });

  it.skipIf(!hasOpenssl)('over TLS, trusting an authority of its own and nobody else', async () => {
    const { certificate, key } = makeCertificate(directory);
    const port = steadyPort();
    const options = ['--tls-port', String(port), '--tls-cert-file', certificate, '--tls-key-file', key];
    const secured = await RedisProcess.start([...options, '--tls-auth-clients', 'no']);
    try {
      const address = parseRedisUrl(`rediss://127.0.0.1:${port}`) as RedisAddress;
      const ca = readFileSync(certificate, 'utf8');
      const [near, far] = [await registryOf({ address, ca }), await registryOf({ address, ca })];
      const list = follow(far);
      await near.register(instanceOf({ id: 'a' }));
      await until('it', () => list()?.length === 1);
      const stranger = await registryOf({ address });
      expect(stranger.problem).toMatch(/certificate/);
    } finally {
      await Promise.all(open.splice(0).map((registry) => registry.close()));
      await secured.close();
    }
  });

  it('follows a thousand instances that come and go, with hardly a whole list read', async () => {
    const owners = await Promise.all(Array.from({ length: 4 }, () => registryOf({ leaseMs: 60_000 })));
    const far = await registryOf({ maxInstances: 2_000 });
    const list = follow(far);
    const live = new Map<string, { deregister(): Promise<void> }>();
    const put = async (i: number): Promise<void> => {
      const id = `i${i}`;
      live.set(id, await owners[i % owners.length]!.register(instanceOf({ id, port: 1 + (i % 60_000) })));
    };
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => put(i)));
    await until('a thousand', () => list()?.length === 1_000);
    const readsBefore = await reads();
    for (let round = 0; round < 5; round++) {
      const leaving = [...live].slice(0, 100);
      for (const [id] of leaving) live.delete(id);
      await Promise.all([
        ...leaving.map(([, registration]) => registration.deregister()),
        ...Array.from({ length: 100 }, (_, i) => put(1_000 + 100 * round + i)),
      ]);
    }
    await until('the same on both sides', () => ids(list()).join() === [...live.keys()].sort().join());
    // A thousand changes of one service: versions are compared, the list is followed.
    expect((await reads()) - readsBefore).toBeLessThan(50);
    expect(far.view()).toMatchObject({ instances: 1_000, protected: [], problem: null });
  });

  /** Whole lists that Redis was asked for. */
  async function reads(): Promise<number> {
    const stats = String(await redis.ask('info', 'commandstats'));
    return Number(/cmdstat_hvals:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it('refuses more services than the limit, and names it', async () => {
    const registry = await registryOf({ maxServices: 1 });
    const end = registry.watch('one', undefined, () => undefined);
    expect(() => registry.watch('two', undefined, () => undefined)).toThrow(/1 services are watched already/);
    end();
    expect(() => registry.watch('two', undefined, () => undefined)).not.toThrow();
  });
});
