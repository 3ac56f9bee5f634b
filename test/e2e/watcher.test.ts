// Two watchers over a real Redis and real agents: silent ones are taken out and put back, the active watcher dies or stops and the other
// takes over, and a stopped one that wakes changes nothing.
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/base/redis-url.js';
import type { RedisAddress } from '../../src/base/redis-url.js';
import { openRedisRegistry } from '../../src/registry/redis/redis-registry.js';
import { commandLine } from '../support/agent-process.js';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RedisProcess, hasRedis } from '../support/redis-process.js';
import { RunningProcess } from '../support/running-process.js';
import { until } from '../support/until.js';

describe.skipIf(!hasRedis)('the watcher', () => {
  let redis: RedisProcess;
  let mesh: Mesh;
  let near: AgentProcess;
  let agents: AgentProcess[];
  let client: AppProcess;
  let watchers: RunningProcess[];

  beforeEach(async () => {
    redis = await RedisProcess.start();
    mesh = new Mesh();
    watchers = [];
    // Leases so long that only the watcher can notice.
    const config: AgentConfig = {
      registry: { type: 'redis', url: redis.url, leaseMs: 600_000, sweepMs: 300, protectMs: 0 },
      timeouts: { keepaliveMs: 600_000 },
    };
    agents = await Promise.all(['near', 'one', 'two', 'three'].map((name) => mesh.agent(name, config)));
    near = agents[0]!;
    for (const agent of agents.slice(1)) await mesh.server(`on-${agent.name}`, agent, { service: 'ledger' });
    client = await mesh.client('client', near);
    await mesh.reachable(client, 'ledger');
    await until('all to be known', async () => (await endpoints()).length === 3);
  });
  afterEach(async () => {
    for (const agent of agents) agent.process.signal('SIGCONT');
    for (const watcher of watchers) {
      watcher.signal('SIGCONT');
      if (watcher.ending === undefined) expect(await watcher.end()).toMatchObject({ code: 0 });
    }
    await mesh.close();
    await redis.close();
  });

  const fast = ['--interval', '100', '--timeout', '300', '--failures', '2', '--lease', '1200'];
  function watch(name: string, ...more: string[]): RunningProcess {
    const args = ['watcher', '--registry', redis.url, ...fast, ...more];
    const watcher = new RunningProcess(name, commandLine, args);
    watchers.push(watcher);
    return watcher;
  }
  const says = (watcher: RunningProcess, text: string): Promise<true> =>
    watcher.seen(text, (stdout) => (stdout.includes(text) ? true : undefined));
  const endpoints = async (): Promise<string[]> => {
    const cluster = (await near.clusters()).find((c) => c.service === 'ledger' && c.direction === 'outbound');
    return (cluster?.endpoints ?? []).map(({ address }) => address ?? '');
  };
  const addressOf = (agent: AgentProcess): string => `127.0.0.1:${agent.inbound}`;
  const out = (agent: AgentProcess): Promise<true> =>
    until(`${agent.name} to be out`, async () => !(await endpoints()).includes(addressOf(agent)));
  const back = (agent: AgentProcess): Promise<true> =>
    until(`${agent.name} to be back`, async () => (await endpoints()).includes(addressOf(agent)));

  it('takes a stopped agent out, and puts it back when it goes on', async () => {
    const watcher = watch('watcher');
    const one = agents[1]!;
    one.process.signal('SIGSTOP');
    await out(one);
    await says(watcher, 'taken out');
    expect(await near.get('/registry')).toMatchObject({ offline: 1, instances: 2 });
    one.process.signal('SIGCONT');
    await back(one);
    expect(await near.get('/registry')).toMatchObject({ offline: 0, instances: 3 });
  });

  it('takes a killed agent out long before its lease ends', async () => {
    watch('watcher');
    await agents[1]!.kill();
    await out(agents[1]!);
    expect(await endpoints()).toHaveLength(2);
  });

  it('never takes out more than the share, and says so', async () => {
    const watcher = watch('watcher', '--max-share', '0.34');
    for (const agent of agents.slice(1)) agent.process.signal('SIGSTOP');
    await says(watcher, 'more instances fail than may be taken out at once');
    await until('one to be out', async () => (await endpoints()).length === 2);
    const marks = await redis.ask('zcard', 'ringside:{ledger}:offline');
    expect(marks).toBe(1);
  });

  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'another takes over when the active one gets %s',
    async (signal) => {
      const first = watch('first');
      await says(first, 'this watcher is active');
      const second = watch('second');
      await says(second, 'this watcher stands by');
      if (signal === 'SIGKILL') await first.end(signal);
      else first.signal(signal);
      await says(second, 'this watcher is active');
      const one = agents[1]!;
      one.process.signal('SIGSTOP');
      await out(one);
      if (signal === 'SIGSTOP') {
        first.signal('SIGCONT');
        await says(first, 'this watcher stands by');
        expect(await endpoints()).not.toContain(addressOf(one));
      }
      one.process.signal('SIGCONT');
      await back(one);
    },
  );

  it('an orderly end hands over at once, and marks nobody renews end by themselves', async () => {
    const first = watch('first');
    const one = agents[1]!;
    one.process.signal('SIGSTOP');
    await out(one);
    expect(await first.end()).toMatchObject({ code: 0 });
    expect(await redis.ask('get', 'ringside:watcher')).toBeNull();
    await back(one);
  });

  it('asks servers of the legacy protocol by their own PING', async () => {
    const sockets = new Set<Socket>();
    let silent = false;
    const legacy: Server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      socket.on('data', (bytes) => {
        if (!silent && bytes.toString() === '*1\r\n$4\r\nPING\r\n') socket.write('+PONG\r\n');
      });
    });
    await new Promise<void>((resolve) => legacy.listen(0, '127.0.0.1', resolve));
    const registry = await openRedisRegistry({
      ...{ address: parseRedisUrl(redis.url) as RedisAddress, prefix: 'ringside', timeoutMs: 1_000 },
      ...{ leaseMs: 60_000, sweepMs: 300, protection: { share: 1, holdMs: 0 }, cacheFile: null },
      ...{ maxInstances: 100, maxServices: 10 },
    });
    let seen: readonly { id: string }[] = [];
    registry.watch('old', undefined, (list) => (seen = list));
    const { port } = legacy.address() as AddressInfo;
    const common = {
      service: 'old',
      group: '',
      version: '',
      host: '127.0.0.1',
      weight: 100,
      zone: '',
      epoch: 1,
    };
    const rest = { protocols: ['redis'], metadata: {}, app: 'old' };
    await registry.register({ ...common, ...rest, id: 'a', port });
    await registry.register({ ...common, ...rest, id: 'b', port: agents[2]!.inbound, protocols: ['mesh/1'] });
    await until('both', () => seen.length === 2);
    watch('watcher');
    await says(watchers[0]!, 'this watcher is active');
    silent = true;
    await until('the silent one to be out', () => seen.length === 1 && seen[0]?.id === 'b');
    silent = false;
    await until('it to be back', () => seen.length === 2);
    await registry.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => legacy.close(resolve));
  });
});
