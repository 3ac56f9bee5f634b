// Agents over a real Redis: instances come and go while callers call; Redis is killed, stopped, emptied and comes back; an agent starts
// without it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RegistryView } from '../../src/observe/agent-view.js';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RedisProcess, hasRedis } from '../support/redis-process.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

describe.skipIf(!hasRedis)('agents over Redis', () => {
  let redis: RedisProcess;
  let mesh: Mesh;
  let near: AgentProcess;
  let far: AgentProcess;
  let client: AppProcess;
  let config: AgentConfig;

  beforeEach(async () => {
    redis = await RedisProcess.start();
    mesh = new Mesh();
    config = {
      registry: { type: 'redis', url: redis.url, leaseMs: 3_000, sweepMs: 300, timeoutMs: 500 },
    };
    [near, far] = await Promise.all([
      mesh.agent('near', config),
      mesh.agent('far', { ...config, advertise: { zone: 'east' } }),
    ]);
    client = await mesh.client('client', near);
  });
  afterEach(async () => {
    await mesh.close();
    await redis.close();
  });

  const who = async (): Promise<string> => (await client.call('ledger', 'who')).body.toString();
  const registryOf = (agent: AgentProcess): Promise<RegistryView> => agent.get('/registry');
  /** Who answers how many of a thousand calls; none may fail. */
  async function answering(): Promise<Record<string, number>> {
    await client.startLoad({ service: 'ledger', method: 'who', inFlight: 8, total: 1_000, prefix: 'who-' });
    const { by, failures } = await client.endLoad('who-', false);
    expect(failuresOf({ failures })).toEqual({});
    return by;
  }
  const endpoints = async (agent: AgentProcess) => {
    const clusters = await agent.clusters();
    return clusters.find((c) => c.service === 'ledger' && c.direction === 'outbound')?.endpoints ?? [];
  };
  const well = (...agents: AgentProcess[]): Promise<true> =>
    until('all agents to be well', async () => {
      const views = await Promise.all(agents.map((agent) => agent.readiness()));
      return views.every(({ ok, warnings }) => ok && warnings.length === 0);
    });

  it('the first call of a service finds an instance that stands already', async () => {
    await mesh.server('first', far, { service: 'ledger' });
    expect(await who()).toBe('first');
  });

  it('instances come and go live, with weight and zone, and leave without a failed call', async () => {
    await expect(who()).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
    const first = await mesh.server('first', far, { service: 'ledger', weight: 7 });
    await mesh.reachable(client, 'ledger');
    expect(await endpoints(near)).toMatchObject([{ zone: 'east', weight: 7 }]);
    await mesh.server('beside', near, { service: 'ledger' });
    await until('both to be known', async () => (await endpoints(near)).length === 2);
    expect(Object.keys(await answering()).sort()).toEqual(['beside', 'first']);

    await client.startLoad({ service: 'ledger', method: 'who', inFlight: 8, prefix: 'leaving-' });
    await client.reached('leaving-', 200);
    await first.closeServer();
    const { ok } = await client.loadSoFar('leaving-');
    await client.reached('leaving-', ok + 200);
    expect(failuresOf(await client.endLoad('leaving-'))).toEqual({});
    expect(Object.keys(await answering())).toEqual(['beside']);
    expect((await registryOf(near)).protected).toEqual([]);
  });

  it('groups are served by their own instances', async () => {
    await mesh.server('blue', far, { service: 'ledger', group: 'blue' });
    await mesh.server('green', far, { service: 'ledger', group: 'green' });
    await mesh.reachable(client, 'ledger', { group: 'green' });
    await mesh.reachable(client, 'ledger', { group: 'blue' });
    const ask = async (group: string) => (await client.call('ledger', 'who', '', { group })).body.toString();
    expect([await ask('blue'), await ask('green')]).toEqual(['blue', 'green']);
  });

  it('the instances of an agent that was killed are gone when their lease ends', async () => {
    const third = await mesh.agent('third', config);
    await mesh.server('second', far, { service: 'ledger' });
    await mesh.server('third-app', third, { service: 'ledger' });
    await mesh.server('beside', near, { service: 'ledger' });
    await mesh.reachable(client, 'ledger');
    await until('all to be known', async () => (await endpoints(near)).length === 3);
    await third.kill();
    await until('its lease to end', async () => (await endpoints(near)).length === 2);
    expect(Object.keys(await answering()).sort()).toEqual(['beside', 'second']);
  });

  it.each([
    ['killed and started empty', async () => redis.kill(), async () => redis.up()],
    ['stopped and continued', async () => redis.signal('SIGSTOP'), async () => redis.signal('SIGCONT')],
    ['emptied', async () => redis.ask('flushall'), async () => undefined],
  ])('while Redis is %s no call fails, and all recovers', async (what, harm, mend) => {
    await mesh.server('first', far, { service: 'ledger' });
    await mesh.server('second', far, { service: 'ledger' });
    await mesh.reachable(client, 'ledger');
    await until('both to be known', async () => (await endpoints(near)).length === 2);
    await client.startLoad({ service: 'ledger', method: 'who', inFlight: 4, prefix: 'harm-' });
    const harmedMs = performance.now();
    await harm();
    if (what !== 'emptied') {
      await until('/ready to say so', async () => {
        const { ok, warnings } = await near.readiness();
        return ok && warnings.some((warning) => warning.includes(String(redis.port)));
      });
      // Longer than the leases.
      await until('the leases to be over', () => performance.now() - harmedMs > 4_000);
      expect(await registryOf(near)).toMatchObject({ instances: 2 });
    }
    await mend();
    await well(near, far);
    await until('both to be registered again', async () => {
      const keys = (await redis.ask('hlen', 'ringside:{ledger}:instances')) as number;
      return keys === 2;
    });
    await until('nothing to be held any more', async () => (await registryOf(near)).protected.length === 0);
    const { ok } = await client.loadSoFar('harm-');
    await client.reached('harm-', ok + 100);
    expect(failuresOf(await client.endLoad('harm-'))).toEqual({});
    await mesh.server('late', far, { service: 'ledger' });
    await until('news to be seen again', async () => (await endpoints(near)).length === 3);
  });

  it('while Redis is down an agent starts from disk, its apps publish, and servers leave gracefully', async () => {
    const first = await mesh.server('first', far, { service: 'ledger' });
    await mesh.reachable(client, 'ledger');
    const { ok } = await near.readiness();
    expect(ok).toBe(true);
    // Ending it writes the lists.
    await near.process.end();
    await redis.kill();
    near = await mesh.agent('near', config);
    expect(await registryOf(near)).toMatchObject({ connected: false });
    const caller = await mesh.client('caller', near);
    expect((await caller.call('ledger', 'who')).body.toString()).toBe('first');
    expect(await registryOf(near)).toMatchObject({ fromDisk: 1, instances: 1 });
    // The lists on disk are good enough to serve from.
    expect(await near.readiness()).toMatchObject({ ok: true, reasons: [] });
    expect((await near.readiness()).warnings.join()).toContain(String(redis.port));
    await mesh.server('late', far, { service: 'other' });
    await first.closeServer();

    await redis.up();
    await well(near, far);
    await mesh.reachable(caller, 'other');
  });

  it('shows the registry in status and metrics, without the password', async () => {
    const text = await (await fetch(`${near.adminUrl}/metrics`)).text();
    expect(text).toMatch(/^ringside_registry_connected 1$/m);
    expect(text).toMatch(/^ringside_registry_protected 0$/m);
    expect(await registryOf(near)).toMatchObject({ kind: 'redis', address: redis.url, problem: null });
    expect(JSON.stringify(await near.get('/config'))).not.toContain(redis.url);
  });
});
