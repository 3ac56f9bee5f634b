// One of two instances goes away under load: gracefully without one failed call, by force with failures only where the caller
// cannot be spared one, each with the truth about whether it ran. Afterwards the other instance does everything.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, TestTransport } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const config = { registry: { leaseMs: 4_000, sweepMs: 200 } };
const inFlight = 32;

let mesh: Mesh;
let near: AgentProcess;
beforeEach(async () => {
  mesh = new Mesh();
  near = await mesh.agent('near', config);
});
afterEach(() => mesh.close());

interface Pair {
  client: AppProcess;
  stays: AppProcess;
  leaves: AppProcess;
  agentOfLeaving: AgentProcess;
}

/** Two servers, on one agent or each on its own, and a client that both of them have served. */
async function pair(
  agents: 'one agent' | 'two agents',
  transport: TestTransport = 'shm',
  configOfLeaving = config,
): Promise<Pair> {
  const agentOfStaying = await mesh.agent('far-stays', config);
  const agentOfLeaving =
    agents === 'one agent' ? agentOfStaying : await mesh.agent('far-leaves', configOfLeaving);
  const [client, stays, leaves] = await Promise.all([
    mesh.client('client', near, transport),
    mesh.server('stays', agentOfStaying, { service: 'ledger' }, transport),
    mesh.server('leaves', agentOfLeaving, { service: 'ledger' }, transport),
  ]);
  await startLoad(client, 'all-');
  await until('both to serve', async () => {
    const { by } = await client.loadSoFar('all-');
    return (by['stays'] ?? 0) > 200 && (by['leaves'] ?? 0) > 200;
  });
  return { client, stays, leaves, agentOfLeaving };
}

async function startLoad(client: AppProcess, prefix: string): Promise<void> {
  const callOptions = { attachments: { 'work-ms': '2' } };
  await until('the service to be there', () =>
    client.call('ledger', 'echo').then(
      () => true,
      () => false,
    ),
  );
  await client.startLoad({ service: 'ledger', method: 'record', inFlight, prefix, callOptions });
}

/** The load goes on for a while, nothing of it fails, and what comes later goes to the instance that stays. */
async function expectNoCallLost(client: AppProcess, servers: AppProcess[]): Promise<void> {
  const { ok } = await client.loadSoFar('all-');
  await client.reached('all-', ok + 500);
  const summary = await client.endLoad('all-');
  expect(failuresOf(summary)).toEqual({});
  expectTruth(summary, servers);
  await expectOnlyTheOther(client);
}

/** Runs a second load after the removal: all of it must succeed, on the instance that stays. */
async function expectOnlyTheOther(client: AppProcess): Promise<void> {
  const total = 1_000;
  const load = { service: 'ledger', method: 'record', inFlight, prefix: 'after-', total };
  await client.startLoad(load);
  const { ok, by, failures } = await client.endLoad('after-', false);
  expect(failuresOf({ failures })).toEqual({});
  expect(ok).toBe(total);
  expect(by).toEqual({ stays: total });
}

describe.each(['one agent', 'two agents'] as const)('gracefully, both on %s', (agents) => {
  it.each(['shm', 'unix', 'tcp'] as const)(
    'a server that is closed loses no call (%s)',
    async (transport) => {
      const { client, stays, leaves } = await pair(agents, transport);
      await leaves.closeServer();
      // From here on nothing reaches it.
      const served = leaves.ran().length;
      await expectNoCallLost(client, [stays, leaves]);
      expect(leaves.ran().length).toBe(served);
    },
  );

  it('an application that is asked to end (SIGTERM) loses no call', async () => {
    const { client, stays, leaves } = await pair(agents);
    expect(await leaves.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    await expectNoCallLost(client, [stays, leaves]);
  });
});

it('gracefully, again and again: instances come and go under load without a failed call', async () => {
  const { client, stays, leaves, agentOfLeaving } = await pair('two agents');
  let leaving = leaves;
  const all = [stays, leaves];
  for (let round = 0; round < 5; round++) {
    await leaving.process.end('SIGTERM');
    leaving = await mesh.server(`leaves-${round}`, agentOfLeaving, { service: 'ledger' });
    all.push(leaving);
    await until('the new one to serve', () => leaving.ran().length > 100);
  }
  const summary = await client.endLoad('all-');
  expect(failuresOf(summary)).toEqual({});
  expectTruth(summary, all);
});

it('an agent that is asked to end (SIGTERM) while its app serves loses no call', async () => {
  const { client, stays, leaves, agentOfLeaving } = await pair('two agents');
  expect(await agentOfLeaving.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  await expectNoCallLost(client, [stays, leaves]);
});

it('agent and application asked to end at the same moment, as a pod is, lose no call', async () => {
  const { client, stays, leaves, agentOfLeaving } = await pair('two agents');
  const endings = await Promise.all([agentOfLeaving.process.end('SIGTERM'), leaves.process.end('SIGTERM')]);
  expect(endings).toEqual([
    { code: 0, signal: null },
    { code: 0, signal: null },
  ]);
  await expectNoCallLost(client, [stays, leaves]);
});

describe('by force', () => {
  it.each(['one agent', 'two agents'] as const)('an application that is killed (%s)', async (agents) => {
    const { client, stays, leaves } = await pair(agents);
    await leaves.process.end('SIGKILL');
    // What was under way, and what crossed the news.
    expect(await expectLossesAreTrue(client, [stays, leaves])).toBeLessThanOrEqual(2 * inFlight);
    await expectOnlyTheOther(client);
  });

  it('an agent that is killed while its app lives', async () => {
    const { client, stays, leaves, agentOfLeaving } = await pair('two agents');
    await agentOfLeaving.kill();
    await expectLossesAreTrue(client, [stays, leaves]);
    // Its instance may still stand in the registry: that must not cost a call.
    await expectOnlyTheOther(client);
  });

  it('agent and application at once', async () => {
    const { client, stays, leaves, agentOfLeaving } = await pair('two agents');
    await Promise.all([agentOfLeaving.kill(), leaves.process.end('SIGKILL')]);
    await expectLossesAreTrue(client, [stays, leaves]);
    await expectOnlyTheOther(client);
    // Nobody renews its lease: it leaves the list.
    await until('the dead instance to leave the cluster', async () => {
      const cluster = (await near.clusters()).find(({ service }) => service === 'ledger');
      return cluster?.endpoints.length === 1;
    });
  });

  it('an agent that comes back on its port without its application', async () => {
    // The dead instance stays in the list until its address answers again.
    const longLease = { registry: { leaseMs: 60_000, sweepMs: 200 } };
    const { client, stays, leaves, agentOfLeaving } = await pair('two agents', 'shm', longLease);
    const { inbound } = agentOfLeaving;
    await Promise.all([agentOfLeaving.kill(), leaves.process.end('SIGKILL')]);
    const again = await mesh.agent('far-leaves', { ...longLease, inbound: { port: inbound } });
    await until('the caller to be connected to the new agent', async () =>
      (await near.links()).some(({ peer, state }) => peer === `127.0.0.1:${inbound}` && state === 'open'),
    );
    await expectLossesAreTrue(client, [stays, leaves]);
    await expectOnlyTheOther(client);
    // And when its application is there again, it gets its share.
    const back = await mesh.server('back', again, { service: 'ledger' });
    await client.startLoad({ service: 'ledger', method: 'record', inFlight, prefix: 'back-' });
    await until('the new application to serve', () => back.ran().length > 100);
    expect(failuresOf(await client.endLoad('back-'))).toEqual({});
  });

  /**
   * What failed was under way at that moment, or is proven not to have run.
   * @returns how many calls failed
   */
  async function expectLossesAreTrue(client: AppProcess, servers: AppProcess[]): Promise<number> {
    const { ok } = await client.loadSoFar('all-');
    await client.reached('all-', ok + 1_000);
    const summary = await client.endLoad('all-');
    expect(summary.failures.filter(({ status }) => status !== 'UNAVAILABLE')).toEqual([]);
    // At most what was under way when it died, once for each connection that was lost, and what then was refused on arrival.
    expect(summary.failures.length).toBeLessThanOrEqual(3 * inFlight);
    expectTruth(summary, servers);
    return summary.failures.length;
  }
});
