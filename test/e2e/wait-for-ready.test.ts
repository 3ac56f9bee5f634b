// Calls with `waitForReady` on real processes: they wait at the agent while nobody serves their service, over a takeover as well, and for
// an agent that is not there yet; what can be served in between is, and each of them runs once.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const patient = { waitForReady: true, timeoutMs: 30_000 };
let mesh: Mesh;
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
beforeEach(async () => {
  mesh = new Mesh();
  [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
  client = await mesh.client('client', near);
});
afterEach(() => mesh.close());

const waiting = async (agent: AgentProcess): Promise<number> => (await agent.limit('waiting')).used;
const who = async (): Promise<string> => (await client.call('ledger', 'who', '', patient)).body.toString();

it('a call waits at the agent until its service is served; a plain one fails at once', async () => {
  const calls = [who(), who()];
  await until('both to wait', async () => (await waiting(near)) === 2);
  await expect(client.call('ledger', 'who')).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
  });
  await mesh.server('server', far, { service: 'ledger' });
  expect(await Promise.all(calls)).toEqual(['server', 'server']);
  expect(await waiting(near)).toBe(0);
});

it('at its deadline it is told what it waited for, as not run', async () => {
  const failed = await client
    .call('ledger', 'who', '', { waitForReady: true, timeoutMs: 1_500 })
    .catch((error: unknown) => error);
  expect(failed).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
  expect((failed as Error).message).toContain('no instance of this service is registered');
});

it('those that wait move to the process that takes over', async () => {
  const calls = [who(), who()];
  await until('both to wait', async () => (await waiting(near)) === 2);
  const next = await mesh.upgrade(near);
  expect(await waiting(next)).toBe(2);
  await mesh.server('server', far, { service: 'ledger' });
  expect(await Promise.all(calls)).toEqual(['server', 'server']);
});

it('the only server is replaced under load and no call fails', async () => {
  const first = await mesh.server('first', far, { service: 'ledger' });
  await client.startLoad({
    service: 'ledger',
    method: 'who',
    inFlight: 8,
    prefix: 'on-',
    callOptions: patient,
  });
  await client.reached('on-', 200);
  await first.closeServer();
  await until('calls to wait', async () => (await waiting(near)) > 0);
  await mesh.server('second', far, { service: 'ledger' });
  const { ok } = await client.loadSoFar('on-');
  await client.reached('on-', ok + 200);
  const summary = await client.endLoad('on-');
  expect(failuresOf(summary)).toEqual({});
  expect(Object.keys(summary.by).sort()).toEqual(['first', 'second']);
});

it('where the only address cannot be reached they wait for it, and one that comes back serves them', async () => {
  await mesh.server('server', far, { service: 'ledger' });
  await mesh.reachable(client, 'ledger');
  await far.kill();
  await until(
    'the link to be gone',
    async () => !(await near.links()).some(({ role }) => role === 'upstream'),
  );
  const call = who();
  await until('it to wait', async () => (await waiting(near)) === 1);
  const again = await mesh.agent('far');
  await mesh.server('again', again, { service: 'ledger' });
  expect(await call).toMatch(/server|again/);
});

it('without an agent a call waits in the application, and is served when there is one', async () => {
  const app = await mesh.app('early');
  const late = mesh.launch('late');
  await late.ready();
  const way = wayTo(late, 'shm');
  await late.process.end();
  await app.connect({ ...way, lazy: true, waitForReady: true });
  await expect(app.call('ledger', 'who', '', { waitForReady: false })).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
  });
  const call = app.call('ledger', 'who', '', { timeoutMs: 30_000 });
  await mesh.server('server', far, { service: 'ledger' });
  const again = await mesh.agent('late');
  expect((await call).body.toString()).toBe('server');
  expect(again.process.output).not.toContain('failed request');
});
