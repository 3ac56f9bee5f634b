// Calls that come before an agent knows who serves their service: none of them is refused for that. They wait for the first list until
// their deadline, whatever keeps it away, over a takeover as well, and those of one service leave room for the others.
import { chmodSync, mkdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import type { AppProcess, CallFailure } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RedisProcess, hasRedis } from '../support/redis-process.js';
import { until } from '../support/until.js';

let mesh: Mesh;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

const patient = { timeoutMs: 30_000 };
/** What came of each of some calls: who answered, or the error's text. */
function callAll(client: AppProcess, service: string, count = 12): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, () =>
      client.call(service, 'who', '', patient).then(
        ({ body }) => body.toString(),
        ({ status, message }: CallFailure) => `${status}: ${message}`,
      ),
    ),
  );
}
const all = (name: string, count = 12): string[] => Array<string>(count).fill(name);

const waiting = async (agent: AgentProcess): Promise<number> => (await agent.limit('waiting')).used;

describe('with the registry in a directory', () => {
  it('all calls right after a service was published beside another agent are served', async () => {
    const [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
    const client = await mesh.client('client', near);
    for (let i = 0; i < 8; i++) {
      await mesh.server(`server-${i}`, far, { service: `ledger-${i}` });
      expect(await callAll(client, `ledger-${i}`)).toEqual(all(`server-${i}`));
    }
  });

  it('a directory that cannot be used yet keeps calls waiting until it can, or their deadline ends with the reason', async () => {
    mkdirSync(mesh.registryDirectory);
    chmodSync(mesh.registryDirectory, 0o777);
    const near = await mesh.agent('near', { registry: { sweepMs: 100 } }, {});
    const client = await mesh.client('client', near);
    const failed = await client
      .call('ledger', 'who', '', { timeoutMs: 1_500 })
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
    expect((failed as Error).message).toContain(
      `the registry in ${mesh.registryDirectory} has not answered yet`,
    );
    expect((failed as Error).message).toContain('may be written by everyone');
    const calls = callAll(client, 'ledger');
    await until('all to wait', async () => (await waiting(near)) === 12);
    chmodSync(mesh.registryDirectory, 0o700);
    // Nobody serves it: that is known now.
    const outcomes = await calls;
    for (const outcome of outcomes) expect(outcome).toContain('no instance of this service is registered');
  });
});

describe.skipIf(!hasRedis)('with the registry on Redis', () => {
  let redis: RedisProcess;
  let config: AgentConfig;
  beforeEach(async () => {
    redis = await RedisProcess.start();
    config = { registry: { type: 'redis', url: redis.url, leaseMs: 60_000, sweepMs: 300, timeoutMs: 500 } };
  });
  afterEach(() => redis.close());

  /** A service behind another agent, and a client whose agent was not asked for it yet. */
  async function start(
    limits: Record<string, number> = {},
  ): Promise<{ near: AgentProcess; client: AppProcess }> {
    const [near, far] = await Promise.all([
      mesh.agent('near', { ...config, limits }),
      mesh.agent('far', config),
    ]);
    await mesh.server('server', far, { service: 'ledger' });
    return { near, client: await mesh.client('client', near) };
  }

  it('all calls that come while the first list is on its way wait for it, not only the first', async () => {
    const { near, client } = await start();
    redis.signal('SIGSTOP');
    const calls = callAll(client, 'ledger');
    await until('all to wait', async () => (await waiting(near)) === 12);
    redis.signal('SIGCONT');
    expect(await calls).toEqual(all('server'));
    expect(await waiting(near)).toBe(0);
  });

  it('over a takeover, too: those that wait, and those that come to the new process', async () => {
    const { near, client } = await start();
    redis.signal('SIGSTOP');
    const before = callAll(client, 'ledger');
    await until('all to wait', async () => (await waiting(near)) === 12);
    const next = await mesh.upgrade(near);
    const after = callAll(client, 'ledger');
    await until('all to wait', async () => (await waiting(next)) === 24);
    redis.signal('SIGCONT');
    expect(await before).toEqual(all('server'));
    expect(await after).toEqual(all('server'));
  });

  it('while Redis is down they wait until it is up, or until their deadline, which says why', async () => {
    await redis.kill();
    const near = await mesh.agent('near', config);
    const client = await mesh.client('client', near);
    const failed = await client
      .call('ledger', 'who', '', { timeoutMs: 1_500 })
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
    expect((failed as Error).message).toContain(`the registry at ${redis.url} has not answered yet`);
    const calls = callAll(client, 'ledger');
    await until('all to wait', async () => (await waiting(near)) === 12);
    await redis.up();
    const far = await mesh.agent('far', config);
    await mesh.server('server', far, { service: 'ledger' });
    for (const outcome of await calls) {
      expect(['server', 'UNAVAILABLE: no instance of this service is registered']).toContain(outcome);
    }
    await mesh.reachable(client, 'ledger');
  });

  it('limits.waiting: a service whose list does not come leaves room for the calls of others', async () => {
    const { near, client } = await start({ waiting: 64 });
    await mesh.reachable(client, 'ledger');
    redis.signal('SIGSTOP');
    const greedy = await mesh.client('greedy', near);
    const load = { method: 'who', inFlight: 100, total: 100, callOptions: { timeoutMs: 4_000 } };
    await greedy.startLoad({ service: 'slow', ...load, prefix: 'slow-' });
    await until('the share to be used', async () => (await waiting(near)) >= 51);
    // A known service is served, and one that is not known yet waits, too.
    expect((await client.call('ledger', 'who')).body.toString()).toBe('server');
    const other = client.call('other', 'who', '', patient).catch((error: unknown) => error);
    await until('the other to wait', async () => (await waiting(near)) === 52);
    const { failures } = await greedy.endLoad('slow-', false);
    const refused = failures.filter(({ status }) => status === 'RESOURCE_EXHAUSTED');
    expect(refused.length).toBe(49);
    for (const { message, mayHaveRun } of refused) {
      expect(message).toContain('limits.waiting');
      expect(mayHaveRun).toBe(false);
    }
    expect((await near.get<Record<string, number>>('/counters'))['refused_waiting_full']).toBe(49);
    redis.signal('SIGCONT');
    expect(await other).toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
  });
});
