// An agent or an app for which the kernel has nothing left: no descriptors, no memory for rings. What cannot be done is refused with
// the reason, the log says so once, calls that need nothing new go on, and what was refused comes by itself when there is enough again.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { InjectedFaults } from '../support/injected-faults.js';
import { leaveDescriptors, refuseFilesOver } from '../support/limits.js';
import { Mesh } from '../support/mesh.js';
import { preloadProblem } from '../support/preloaded.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const config = { registry: { leaseMs: 1_000, sweepMs: 200 } };
const load = {
  service: 'ledger',
  method: 'record',
  inFlight: 4,
  prefix: 'on-',
  callOptions: { timeoutMs: 20_000 },
};
let mesh: Mesh;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

/** Waits until the load has had some more answers. */
async function goesOn(client: AppProcess): Promise<void> {
  const { ok } = await client.loadSoFar(load.prefix);
  await client.reached(load.prefix, ok + 50);
}

async function loadedMesh(): Promise<{ near: AgentProcess; far: AgentProcess; client: AppProcess }> {
  const [near, far] = await Promise.all([mesh.agent('near', config), mesh.agent('far', config)]);
  await mesh.server('server', far, { service: 'ledger' });
  const client = await mesh.client('client', near);
  await mesh.reachable(client, 'ledger');
  await client.startLoad(load);
  return { near, far, client };
}

describe('RLIMIT_NOFILE', () => {
  it('an agent without descriptors serves whom it has, says why others wait, and takes them later', async () => {
    const { near, client } = await loadedMesh();
    const newcomer = await mesh.app('newcomer');
    const giveBack = leaveDescriptors(near.pid, 0);
    await expect(newcomer.connect({ ...wayTo(near, 'auto'), connectTimeoutMs: 500 })).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    const trouble = await near.logged('that no connection can be accepted', ({ msg }) =>
      msg.startsWith('a listener is in trouble'),
    );
    expect(trouble['problem']).toContain('Too many open files');
    const registry = await near.logged('that the registry cannot be read', ({ msg }) =>
      msg.startsWith('the registry is in trouble'),
    );
    expect(registry['problem']).toContain('EMFILE');
    await goesOn(client);

    giveBack();
    expect(await newcomer.connect(wayTo(near, 'auto'))).toBe('shm');
    await near.logged('that connections are accepted', ({ msg }) => msg === 'connections are accepted again');
    await near.logged('that the registry is well', ({ msg }) => msg === 'the registry is well again');
    await until('the agent to be ready', async () => (await near.readiness()).ok);
    expect((await near.counters())['accept_failures']).toBeGreaterThan(0);
    // One for each listener at most, however often it tried in vain.
    const said = near.log.filter(({ msg }) => msg.startsWith('a listener is in trouble'));
    expect(said.length).toBeLessThanOrEqual(2);
    expect(failuresOf(await client.endLoad(load.prefix))).toEqual({});
  });

  it('an agent that has no descriptor for another agent says which and why, and reaches it later', async () => {
    const { near, client } = await loadedMesh();
    const patient = { registry: { ...config.registry, leaseMs: 60_000 } };
    const other = await mesh.agent('other', patient);
    await mesh.server('elsewhere', other, { service: 'elsewhere' });
    await mesh.reachable(client, 'elsewhere');
    const address = `127.0.0.1:${other.inbound}`;
    const refusal = (reason: string): Promise<Error> =>
      until(`a refusal because of ${reason}`, () =>
        client.call('elsewhere', 'who').then(
          () => undefined,
          (error: Error) => (error.message.includes(reason) ? error : undefined),
        ),
      );
    await other.kill();
    await refusal('Connection refused');
    const giveBack = leaveDescriptors(near.pid, 0);
    const refused = await refusal('Too many open files');
    expect(refused).toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
    expect(refused.message).toContain(address);
    const said = await near.logged('which agent cannot be reached', (line) => line['address'] === address);
    expect(said).toMatchObject({ msg: 'another agent cannot be reached; it is tried again by itself' });
    await goesOn(client);
    giveBack();
    await mesh.agent('other', { ...patient, inbound: { port: other.inbound } });
    await mesh.reachable(client, 'elsewhere');
    await near.logged('that it is reached', (line) => line.msg === 'another agent is reached again');
    expect(failuresOf(await client.endLoad(load.prefix))).toEqual({});
  });
});

describe('no memory for rings', () => {
  async function expectUnixAndBack(agent: AgentProcess, giveBack: () => void): Promise<AppProcess> {
    const app = await mesh.app('newcomer', { env: { RINGSIDE_LOG: '1' } });
    expect(await app.connect(wayTo(agent, 'auto'))).toBe('unix');
    await mesh.reachable(app, 'ledger');
    giveBack();
    await app.event('transport', { transport: 'shm' });
    await mesh.reachable(app, 'ledger');
    return app;
  }
  const refusedBy = (agent: AgentProcess, why: string) =>
    agent.logged('why there is no ring', ({ msg, problem }) => {
      return msg.startsWith('link opened without the shared memory') && String(problem).includes(why);
    });

  it('the agent may not make files that long (RLIMIT_FSIZE): unix, and back by itself', async () => {
    const { near, client } = await loadedMesh();
    const app = await expectUnixAndBack(near, refuseFilesOver(near.pid, 100_000));
    await refusedBy(near, 'no memory for the segment: File too large');
    expect(app.process.stderr).toContain('the agent gives no ring: no memory for the segment');
    expect((await near.counters())['segments_refused']).toBeGreaterThan(0);
    expect(failuresOf(await client.endLoad(load.prefix))).toEqual({});
  });

  if (preloadProblem !== undefined) console.warn(`SKIPPED: no faults are injected: ${preloadProblem}`);
  it.skipIf(preloadProblem !== undefined).each([
    ['memfd_create', { refuseMemfd: true }, 'cannot make a memfd: Function not implemented'],
    ['mmap', { refuseSharedMmap: true }, 'cannot map the segment: Cannot allocate memory'],
  ] as const)('%s refused to the agent: unix, and back by itself', async (_what, fault, why) => {
    const faults = new InjectedFaults(mesh.directory);
    const agent = await mesh.agent('agent', config, { env: faults.env });
    await mesh.server('server', agent, { service: 'ledger' });
    faults.set(fault);
    await expectUnixAndBack(agent, () => faults.set({}));
    await refusedBy(agent, why);
  });

  it.skipIf(preloadProblem !== undefined)('mmap refused to the app: unix, and back by itself', async () => {
    const faults = new InjectedFaults(mesh.directory);
    const agent = await mesh.agent('agent', config);
    await mesh.server('server', agent, { service: 'ledger' });
    const app = await mesh.app('app', { env: { RINGSIDE_LOG: '1', ...faults.env } });
    faults.set({ refuseSharedMmap: true });
    expect(await app.connect(wayTo(agent, 'auto'))).toBe('unix');
    expect(app.process.stderr).toContain('cannot map the segment: Cannot allocate memory');
    await mesh.reachable(app, 'ledger');
    faults.set({});
    await app.event('transport', { transport: 'shm' });
    await mesh.reachable(app, 'ledger');
  });
});
