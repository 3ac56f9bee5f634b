// The idea of the design on real agents: TypeScript is asked once per kind of request, everything else follows flows in the
// engine, whatever JavaScript is doing meanwhile.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { failuresOf } from '../support/truth.js';

const awkward = fileURLToPath(new URL('../support/filters/awkward.mjs', import.meta.url));

const services = ['orders', 'users', 'stock'];
const mesh = new Mesh();
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
let users: AppProcess;

beforeAll(async () => {
  const filters = [{ module: awkward, services: ['spins'] }];
  [near, far] = await Promise.all([mesh.agent('near', { filters }), mesh.agent('far', { filters })]);
  [client, users] = await Promise.all([
    mesh.client('client', near),
    mesh.server('users', far, { service: 'users' }),
    mesh.server('orders', far, { service: 'orders' }),
    mesh.server('stock', far, { service: 'stock' }),
  ]);
  for (const service of services) await mesh.reachable(client, service);
});
afterAll(() => mesh.close());

/** Questions to TypeScript about requests, without those that apps ask of their own agent. */
async function decisions(agent: AgentProcess): Promise<number> {
  const { upcalls = 0, control_requests: control = 0 } = await agent.counters();
  return upcalls - control;
}

it('100,000 calls of three kinds ask TypeScript three times, on each agent', async () => {
  const total = 100_000;
  await client.startLoad({ services, method: 'echo', inFlight: 64, total, prefix: 'many-' });
  const { ok, failures, wrong } = await client.endLoad('many-', false);
  expect(failuresOf({ failures })).toEqual({});
  expect(ok).toBe(total);
  expect(wrong).toBe(0);
  for (const agent of [near, far]) {
    expect(await decisions(agent)).toBe(services.length);
    const counters = await agent.counters();
    expect(counters['filter_upcalls']).toBe(0);
    expect(counters['flow_hits']).toBeGreaterThanOrEqual(total - 64 * services.length);
    const carried = (await agent.flows()).filter(({ service }) => services.includes(service));
    expect(carried).toHaveLength(services.length);
    for (const { byStatus } of carried) expect(byStatus[0]).toBeGreaterThan(33_000);
  }
});

it('another method is no new kind, another group is', async () => {
  const before = await decisions(near);
  await client.call('orders', 'who');
  await client.call('orders', 'info');
  expect(await decisions(near)).toBe(before);
  await expect(client.call('orders', 'who', '', { group: 'elsewhere' })).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
  });
  expect(await decisions(near)).toBe(before + 1);
});

describe('while the main thread of an agent is blocked for two seconds', () => {
  /** Blocks the agent on whose side `spins` is filtered and counts what a load completes meanwhile. */
  async function blocked(block: () => Promise<unknown>, prefix: string): Promise<void> {
    await client.startLoad({ service: 'users', method: 'echo', inFlight: 8, prefix, times: true });
    await client.reached(prefix, 100);
    const spun = (await block().catch((error: unknown) => error)) as Error & { status?: string };
    expect(spun.status).toBe('ABORTED');
    const [beginUs, endUs] = JSON.parse(spun.message) as [number, number];
    const { failures, timesUs = [] } = await client.endLoad(prefix);
    expect(failuresOf({ failures })).toEqual({});
    expect(endUs - beginUs).toBeGreaterThanOrEqual(2_000_000);
    // Not at its edges only: in each tenth of the time.
    const tenths = Array.from({ length: 10 }, () => 0);
    for (const atUs of timesUs) {
      const tenth = Math.floor((10 * (atUs - beginUs)) / (endUs - beginUs));
      if (tenths[tenth] !== undefined) tenths[tenth] += 1;
    }
    expect(Math.min(...tenths)).toBeGreaterThan(100);
  }

  it('installed flows of the calling side go on', async () => {
    await blocked(() => client.call('spins', 'spin', '', { timeoutMs: 20_000 }), 'near-');
  });

  it('installed flows of the serving side go on', async () => {
    // The filter of the far agent sees requests for what its own apps publish; it is called by an app of its own.
    const local = await mesh.client('local', far);
    await blocked(() => local.call('spins', 'spin', '', { timeoutMs: 20_000 }), 'far-');
  });

  it('a call that is given up is given up everywhere', async () => {
    let over = false;
    const spinning = client
      .call('spins', 'spin', '', { timeoutMs: 20_000 })
      .catch((error: unknown) => error)
      .finally(() => (over = true));
    await expect(client.call('users', 'never', 'x', { timeoutMs: 300 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
    });
    await users.event('aborted', { body: 'x' });
    expect(over).toBe(false);
    expect(await spinning).toMatchObject({ status: 'ABORTED' });
    await near.quiet();
  });
});
