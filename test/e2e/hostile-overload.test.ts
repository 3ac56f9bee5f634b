// More than there is room for, on real processes: ten thousand calls at once, and every bound that an operator may set, hit on purpose. Each
// call gets its answer or a status that names the bound, nothing else is disturbed, and `/metrics` shows the bound and what is used of it.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Status } from '../../src/base/status.js';
import { configSchema } from '../../src/config/schema.js';
import { allFields } from '../../src/config/schema-walk.js';
import { FrameType } from '../../src/protocol/frame.js';
import { decodeHeader } from '../../src/protocol/header.js';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, CallFailure, Failure } from '../support/app-process.js';
import { wayTo } from '../support/app-process.js';
import { refusalBy } from '../support/faults.js';
import { Mesh } from '../support/mesh.js';
import { RawLink } from '../support/raw-link.js';
import type { StartOptions } from '../support/running-process.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const awkward = fileURLToPath(new URL('../support/filters/awkward.mjs', import.meta.url));

let mesh: Mesh;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

it('every bound of the configuration is in /metrics, with what is used of it', async () => {
  const agent = await mesh.agent('agent');
  const { limits } = await agent.get<{ limits: Record<string, number> }>('/config');
  for (const { path } of allFields(configSchema).filter(({ path: [section] }) => section === 'limits')) {
    const [, name = ''] = path;
    expect((await limitInMetrics(agent, name)).max, name).toBe(limits[name]);
  }
});

/** What `/metrics` says of a limit. */
async function limitInMetrics(agent: AgentProcess, name: string): Promise<{ used: number; max: number }> {
  const response = await fetch(new URL('/metrics', agent.adminUrl));
  const text = await response.text();
  const read = (metric: string): number => {
    const found = new RegExp(`^ringside_limit_${metric}\\{limit="${name}"\\} (\\S+)$`, 'm').exec(text);
    if (!found) throw new Error(`no ringside_limit_${metric} of ${name} in\n${text}`);
    return Number(found[1]);
  };
  return { used: read('used'), max: read('max') };
}

/** Holds failures against the table of faults: `bound` are words of its row and of each message. */
async function expectRefusedBy(
  bound: string,
  failures: readonly Failure[],
  agent: AgentProcess,
): Promise<void> {
  const { status, notRun, counter } = refusalBy(bound);
  expect(failures.length).toBeGreaterThan(0);
  for (const failure of failures) {
    expect(failure.status).toBe(status);
    expect(failure.message).toContain(bound);
    if (notRun) expect(failure.mayHaveRun).toBe(false);
  }
  expect((await agent.counters())[counter]).toBeGreaterThan(0);
}

/** An agent with a client, a server of `s`, and one of `filtered`, whose calls a filter decides on. */
async function filteredMesh(
  limits: Record<string, number>,
  options: StartOptions = {},
): Promise<{ agent: AgentProcess; client: AppProcess }> {
  const filters = [{ module: awkward, services: ['filtered'] }];
  const agent = await mesh.agent('agent', { limits, filters }, options);
  const [client] = await Promise.all([
    mesh.client('client', agent),
    mesh.server('server', agent, { service: 's' }),
    mesh.server('filtered', agent, { service: 'filtered' }),
  ]);
  await mesh.reachable(client, 's');
  await mesh.reachable(client, 'filtered');
  return { agent, client };
}

it('ten thousand calls at once through two agents are all answered', async () => {
  const [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
  const client = await mesh.client('client', near);
  await mesh.server('server', far, { service: 's' });
  await mesh.reachable(client, 's');
  const total = 30_000;
  await client.startLoad({
    service: 's',
    method: 'echo',
    inFlight: 10_000,
    total,
    prefix: 'all-',
    callOptions: { timeoutMs: 30_000 },
  });
  const { ok, failures, wrong } = await client.endLoad('all-', false);
  expect(failuresOf({ failures })).toEqual({});
  expect(ok).toBe(total);
  expect(wrong).toBe(0);
  await Promise.all([near.quiet(), far.quiet()]);
});

it('limits.pending: what is over it has not run and says so; another app still finds room', async () => {
  const [agent, far] = await Promise.all([
    mesh.agent('agent', { limits: { pending: 16 } }),
    mesh.agent('far'),
  ]);
  const [greedy, other, server] = await Promise.all([
    mesh.client('greedy', agent),
    mesh.client('other', agent),
    mesh.server('server', far, { service: 's' }),
  ]);
  await mesh.reachable(greedy, 's');
  const calls = Array.from({ length: 60 }, (_, i) =>
    greedy.call('s', 'held', String(i), { timeoutMs: 30_000 }).then(
      () => undefined,
      (error: CallFailure) => error,
    ),
  );
  const used = await until('the table to fill', async () => {
    const limit = await limitInMetrics(agent, 'pending');
    return limit.used >= 12 && limit;
  });
  expect(used.max).toBe(16);
  expect((await other.call('s', 'who')).body.toString()).toBe('server');
  await until('the calls that found room to be served', () => server.count('held') >= used.used);
  await server.letGo();
  const outcomes = await Promise.all(calls);
  const refused = outcomes.filter((failure) => failure !== undefined);
  await expectRefusedBy('limits.pending', refused, agent);
  expect(outcomes.filter((failure) => failure === undefined)).toHaveLength(server.count('held'));
  await agent.quiet();
  expect((await limitInMetrics(agent, 'pending')).used).toBe(0);
});

it('limits.parked: while decisions are awaited, what is over it is refused, and installed flows go on', async () => {
  const { agent, client } = await filteredMesh({ parked: 16 });
  const load = {
    service: 'filtered',
    method: 'never',
    inFlight: 60,
    total: 60,
    callOptions: { timeoutMs: 1500 },
  };
  await client.startLoad({ ...load, prefix: 'parked-' });
  const used = await until('the table to fill', async () => {
    const limit = await limitInMetrics(agent, 'parked');
    return limit.used >= 12 && limit;
  });
  expect(used.max).toBe(16);
  expect((await client.call('s', 'who')).body.toString()).toBe('server');
  const { failures } = await client.endLoad('parked-', false);
  const refused = failures.filter(({ status }) => status !== 'DEADLINE_EXCEEDED');
  await expectRefusedBy('limits.parked', refused, agent);
  expect(failures).toHaveLength(60);
  await agent.quiet();
});

it('limits.upcallsPerSecondPerLink and limits.flows: invented names are refused or answered, and evict no more than there is', async () => {
  const agent = await mesh.agent('agent', { limits: { upcallsPerSecondPerLink: 30, flows: 16 } });
  const client = await mesh.client('client', agent);
  await mesh.server('server', agent, { service: 's' });
  await mesh.reachable(client, 's');
  const services = Array.from({ length: 200 }, (_, i) => `invented-${i}`);
  await client.startLoad({ services, method: 'x', inFlight: 100, total: 200, prefix: 'invented-' });
  const { failures } = await client.endLoad('invented-', false);
  expect(failures).toHaveLength(200);
  const evicted = failures.filter(({ message }) => message.includes('limits.flows'));
  const refused = failures.filter(
    (failure) => failure.status !== 'UNAVAILABLE' && !evicted.includes(failure),
  );
  await expectRefusedBy('limits.upcallsPerSecondPerLink', refused, agent);
  // Decided on together with more others than the table holds.
  for (const { status } of evicted) expect(status).toBe('RESOURCE_EXHAUSTED');
  const flows = await limitInMetrics(agent, 'flows');
  expect(flows.max).toBe(16);
  expect(flows.used).toBeLessThanOrEqual(16);
  await until('the known service to be reached again', () =>
    client.call('s', 'who').then(
      ({ body }) => body.toString() === 'server',
      () => false,
    ),
  );
});

it('a main thread that is busy: what it has not read is bounded, and installed flows go on', async () => {
  const gate = join(mesh.directory, 'gate');
  const limits = { parkedBytes: 131_072, upcallsPerSecondPerLink: 1_000_000 };
  const { agent, client } = await filteredMesh(limits, { env: { TEST_GATE: gate } });
  const holding = client
    .call('filtered', 'hold', '', { timeoutMs: 30_000 })
    .catch((error: CallFailure) => error);
  await until('the main thread to be held', () => existsSync(`${gate}.held`));
  // Each is given up long before anybody asks about it, which frees its place but not what was said of it.
  await client.startLoad({
    ...{ service: 'filtered', method: 'x', inFlight: 6, prefix: 'unread-', failurePauseMs: 0 },
    callOptions: { timeoutMs: 10, attachments: { large: 'x'.repeat(15_000) } },
  });
  await until('the bound to be hit', async () => {
    const { failures } = await client.loadSoFar('unread-');
    return failures.some(({ message }) => message.includes('main thread is behind'));
  });
  expect((await client.call('s', 'who')).body.toString()).toBe('server');
  writeFileSync(gate, '');
  await holding;
  const { failures } = await client.endLoad('unread-');
  const refused = failures.filter(({ status }) => status === 'RESOURCE_EXHAUSTED');
  await expectRefusedBy('main thread', refused, agent);
  for (const { message } of refused) expect(message).toContain('limits.parkedBytes');
  await agent.quiet();
  const { used, max } = await limitInMetrics(agent, 'unreadBytes');
  expect(used).toBeLessThan(max);
  expect((await client.call('filtered', 'who')).body.toString()).toBe('filtered');
});

it('limits.outboundBytesPerLink: a server that does not read costs its callers a status, and others nothing', async () => {
  const agent = await mesh.agent('agent', {
    limits: { outboundBytesPerLink: 262_144 },
    shm: { ringBytes: 262_144 },
  });
  const [client, busy] = await Promise.all([
    mesh.client('client', agent),
    mesh.server('busy', agent, { service: 'busy' }),
    mesh.server('other', agent, { service: 'other' }),
  ]);
  await mesh.reachable(client, 'busy');
  await mesh.reachable(client, 'other');
  const spun = busy.spin(1500);
  await busy.event('spinning');
  const load = { service: 'busy', method: 'echo', inFlight: 40, total: 40, bodyBytes: 60_000 };
  await client.startLoad({ ...load, prefix: 'heavy-', callOptions: { timeoutMs: 20_000 } });
  expect((await client.call('other', 'who')).body.toString()).toBe('other');
  await spun;
  const { ok, failures } = await client.endLoad('heavy-', false);
  await expectRefusedBy('limits.outboundBytesPerLink', failures, agent);
  expect(ok).toBe(40 - failures.length);
  expect(ok).toBeGreaterThan(3);
});

it('a caller that floods a server which does not read leaves room for others on the same link', async () => {
  const agent = await mesh.agent('agent', {
    limits: { outboundBytesPerLink: 524_288, streamsPerLink: 16 },
    shm: { ringBytes: 262_144 },
  });
  const [greedy, modest, server] = await Promise.all([
    mesh.client('greedy', agent),
    mesh.client('modest', agent),
    mesh.server('server', agent, { service: 's' }),
  ]);
  await mesh.reachable(greedy, 's');
  await mesh.reachable(modest, 's');
  const requestsOfModest = async (): Promise<number> =>
    (await agent.links()).find(({ app }) => app === 'modest')?.requestsIn ?? 0;
  server.process.signal('SIGSTOP');
  const flood = { service: 's', method: 'echo', failurePauseMs: 1 };
  const floods = [
    // Short enough to be in the agent as a whole, while its bytes wait for the server.
    { prefix: 'pieces-', bodyBytes: 200_000, inFlight: 20, bound: 'limits.streamsPerLink' },
    { prefix: 'long-', bodyBytes: 600_000, inFlight: 20, bound: 'limits.streamsPerLink' },
    { prefix: 'large-', bodyBytes: 60_000, inFlight: 40, bound: 'limits.outboundBytesPerLink' },
    { prefix: 'small-', bodyBytes: 0, inFlight: 200, bound: 'limits.outboundBytesPerLink' },
    { prefix: 'given-up-', bodyBytes: 60_000, inFlight: 20, cancelAfterMs: 20, bound: undefined },
  ];
  for (const { bound, ...load } of floods) {
    await greedy.startLoad({ ...flood, ...load, callOptions: { timeoutMs: 60_000 } });
    if (bound === undefined) continue;
    await until(`${load.prefix} to be refused`, async () => {
      const { failures } = await greedy.loadSoFar(load.prefix);
      return failures.some(({ message }) => message.includes(bound));
    });
  }
  const before = await requestsOfModest();
  const shared = { ...flood, callOptions: { timeoutMs: 60_000 }, inFlight: 10, total: 10 };
  await modest.startLoad({ ...shared, prefix: 'modest-', bodySizes: [0, 1_000, 2_000, 0, 100, 100_000] });
  await until(
    'the calls of the modest one to have come',
    async () => (await requestsOfModest()) === before + 10,
  );
  server.process.signal('SIGCONT');
  const { ok, wrong, failures } = await modest.endLoad('modest-', false);
  expect(failuresOf({ failures })).toEqual({});
  expect([ok, wrong]).toEqual([10, 0]);
  for (const { prefix, bound } of floods) {
    const { failures: refused, wrong: changed } = await greedy.endLoad(prefix);
    expect(changed).toBe(0);
    for (const { status } of refused) expect(status).toBe('RESOURCE_EXHAUSTED');
    if (bound !== undefined) expect(refused.length).toBeGreaterThan(0);
  }
  await agent.quiet();
});

it('limits.links and limits.linksPerUid: who finds no room is told which bound it was, and gets in when there is room', async () => {
  for (const [bound, limits, links] of [
    ['limits.links', { links: 8 }, 8],
    ['limits.linksPerUid', { linksPerUid: 8 }, 8],
  ] as const) {
    const agent = await mesh.agent(bound, { limits });
    const app = await mesh.app(`app of ${bound}`);
    const once = { ...wayTo(agent, 'shm'), connectTimeoutMs: 5_000 };
    for (let i = 0; i < links; i += 1) await app.connect(once, `client-${i}`);
    const refusal = await app
      .connect({ ...once, connectTimeoutMs: 500 }, 'one too many')
      .catch((error: unknown) => error as CallFailure);
    expect((refusal as CallFailure).message).toContain(bound);
    if (bound === 'limits.links') expect(await limitInMetrics(agent, 'links')).toEqual({ used: 8, max: 8 });
    await app.closeClient('client-0');
    await until('the agent to see it leave', async () => (await agent.links()).length < links);
    expect(await app.connect(once, 'now there is room')).toBe('shm');
  }
});

it('limits.linksPerAddress: another agent that connects too often is told so, and gets in when there is room', async () => {
  const agent = await mesh.agent('agent', { limits: { linksPerAddress: 2 } });
  const welcome = async (peer: RawLink): Promise<[number, string]> => {
    const { status, header } = await peer.frame(FrameType.welcome);
    return [status, decodeHeader(header).statusMessage];
  };
  const [first, second] = [RawLink.hello(agent.inbound), RawLink.hello(agent.inbound)];
  expect(await Promise.all([first, second].map(welcome))).toEqual([
    [Status.OK, ''],
    [Status.OK, ''],
  ]);
  expect(await limitInMetrics(agent, 'linksPerAddress')).toEqual({ used: 2, max: 2 });
  const third = RawLink.hello(agent.inbound);
  const [status, text] = await welcome(third);
  expect(status).toBe(Status.RESOURCE_EXHAUSTED);
  expect(text).toContain('limits.linksPerAddress');
  await third.ended;
  expect((await agent.counters())['links_refused']).toBe(1);
  // Its own apps are counted apart.
  await mesh.client('client', agent, 'tcp');
  first.close();
  await until(
    'the agent to see it leave',
    async () => (await limitInMetrics(agent, 'linksPerAddress')).used < 2,
  );
  const fourth = RawLink.hello(agent.inbound);
  expect(await welcome(fourth)).toEqual([Status.OK, '']);
  second.close();
  fourth.close();
});

it('limits.streamsPerLink: large bodies over it are refused, the rest arrive whole', async () => {
  const agent = await mesh.agent('agent', { limits: { streamsPerLink: 2 } });
  const [client, server] = await Promise.all([
    mesh.client('client', agent),
    mesh.server('server', agent, { service: 's' }),
  ]);
  await mesh.reachable(client, 's');
  const spun = server.spin(1000);
  await server.event('spinning');
  const load = { service: 's', method: 'echo', inFlight: 8, total: 8, bodyBytes: 2_000_000 };
  await client.startLoad({ ...load, prefix: 'large-', callOptions: { timeoutMs: 20_000 } });
  await spun;
  const { ok, failures, wrong } = await client.endLoad('large-', false);
  await expectRefusedBy('limits.streamsPerLink', failures, agent);
  expect(ok + failures.length).toBe(8);
  expect(ok).toBeGreaterThan(0);
  expect(wrong).toBe(0);
  await agent.quiet();
});
