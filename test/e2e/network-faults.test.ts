// The network between two agents fails in every way that we can make it fail: cut, blackhole, half-open, reset, delay, loss. Deadlines fire meanwhile,
// a silent host is found by keep-alive pings or TCP_USER_TIMEOUT, attempts to reach it again are few however many calls ask for it, calls
// that stay on this side go on, and all comes back by itself. Skipped aloud where no network namespace may be made.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, LoadSummary } from '../support/app-process.js';
import { FarNetwork } from '../support/far-network.js';
import { Mesh } from '../support/mesh.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const made = FarNetwork.make();
if (typeof made === 'string') console.warn(`SKIPPED: faults of the network between agents: ${made}`);
const network = made as FarNetwork;

const timeouts = { keepaliveMs: 500, connectMs: 500 };
/** Deadlines of calls to the far side are shorter than anything that finds its silence. */
const load = { method: 'record', inFlight: 8, failurePauseMs: 5 };

describe.skipIf(typeof made === 'string')('the network between two agents', () => {
  let mesh: Mesh;
  let near: AgentProcess;
  let far: AgentProcess;
  let client: AppProcess;
  let server: AppProcess;

  afterAll(() => network.remove());
  beforeEach(async () => {
    mesh = new Mesh();
    near = await mesh.agent('near', { timeouts, log: { level: 'debug' } });
    far = await startFar(0);
    await mesh.server('neighbour', near, { service: 'at-near' });
    server = await mesh.server('server', far, { service: 'ledger' });
    client = await mesh.client('client', near);
    await mesh.reachable(client, 'ledger');
    await mesh.reachable(client, 'at-near');
    await client.startLoad({ ...load, service: 'ledger', prefix: 'far-', callOptions: { timeoutMs: 400 } });
    await client.startLoad({
      ...load,
      service: 'at-near',
      prefix: 'near-',
      callOptions: { timeoutMs: 20_000 },
    });
    await client.reached('far-', 100);
  });
  afterEach(async () => {
    network.mend();
    await network.fast();
    await mesh.close();
  });

  async function startFar(port: number): Promise<AgentProcess> {
    const { host } = network;
    const agent = await mesh.agent(
      'far',
      // Its admin server must be reached from here.
      { timeouts, inbound: { host, port }, advertise: { host }, admin: { host }, log: { level: 'debug' } },
      { through: network.through },
    );
    agent.adminUrl = agent.adminUrl.replace('127.0.0.1', host);
    return agent;
  }

  const failures = async (): Promise<LoadSummary['failures']> => (await client.loadSoFar('far-')).failures;

  /** The end of the link to the far agent; no other closes here. */
  const closed = (reason: RegExp) =>
    near.logged(`the end of the link because of ${reason}`, (line) => {
      return line.msg === 'link closed' && reason.test(String(line['reason']));
    });

  async function comesBack(): Promise<void> {
    for (const prefix of ['far-', 'near-']) {
      const { ok } = await client.loadSoFar(prefix);
      await client.reached(prefix, ok + 100);
    }
  }

  function expectTruthOf(prefix: string, summary: LoadSummary): void {
    const ran = server.ran().filter((id) => id.startsWith(prefix));
    expectTruth(summary, [{ ran: () => ran }]);
  }

  async function endsTruthfully(): Promise<LoadSummary> {
    const [summary, beside] = [await client.endLoad('far-'), await client.endLoad('near-')];
    await mesh.reachable(client, 'ledger');
    await near.quiet();
    expectTruthOf('far-', summary);
    expect(failuresOf(beside)).toEqual({});
    for (const { status } of summary.failures) expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain(status);
    return summary;
  }

  it.each([
    ['cut', () => network.cut()],
    ['a blackhole', () => network.blackhole()],
  ] as const)(
    '%s: found by its silence, few attempts however many calls, back by itself',
    async (_name, fault) => {
      fault();
      await until('deadlines to fire', async () =>
        (await failures()).some(({ status }) => status === 'DEADLINE_EXCEEDED'),
      );
      await closed(/silent for three keep-alive intervals|timed out|No route to host/);
      const before = await near.counters();
      const startMs = performance.now();
      const failed = (await failures()).length;
      // Refused at once while the address is left alone, so there are many.
      await until('many calls to have failed', async () => (await failures()).length > failed + 500);
      const after = await near.counters();
      const attempts = (after['connects'] ?? 0) - (before['connects'] ?? 0);
      // Pauses double from 50 ms to 5 s, of which at most half is taken off.
      expect(attempts).toBeLessThanOrEqual(9 + (performance.now() - startMs) / 2_500);
      const refused = (await failures()).at(-1);
      expect(refused?.message).toContain(network.host);
      await near.logged('that it cannot be reached', ({ msg }) =>
        msg.startsWith('another agent cannot be reached'),
      );
      network.mend();
      await comesBack();
      await near.logged('that it is reached', ({ msg }) => msg === 'another agent is reached again');
      await endsTruthfully();
    },
  );

  it('half-open: the far agent dies behind a cut and is there again when it is mended', async () => {
    network.cut();
    await far.kill();
    far = await startFar(far.inbound);
    network.mend();
    await comesBack();
    await endsTruthfully();
  });

  it('reset: calls under way may have run, the next ones find a new connection', async (context) => {
    const before = (await near.counters())['connects'] ?? 0;
    const problem = network.reset();
    const isOpen = async (): Promise<boolean> => ((await near.counters())['connects'] ?? 0) > before;
    if (problem !== undefined || !(await until('a new connection', isOpen, 3_000).catch(() => false))) {
      console.warn(`SKIPPED: reset connections: this kernel cannot destroy sockets ${problem ?? ''}`);
      await endsTruthfully();
      context.skip();
    }
    await comesBack();
    const { failures: lost } = await endsTruthfully();
    expect(lost.length).toBeLessThan(500);
  });

  it.for([
    ['delay: 100 ms, give or take 50, each way', { delayMs: 100, jitterMs: 50, lostPercent: 0 }],
    ['delay with packets that get lost', { delayMs: 30, jitterMs: 10, lostPercent: 2 }],
  ] as const)(
    '%s: only deadlines that are too short fire, and no link is lost for it',
    async ([, slowness], context) => {
      const slowLoad = { ...load, service: 'ledger' };
      const patient = { ...slowLoad, prefix: 'patient-', callOptions: { timeoutMs: 20_000 } };
      // Less than the way there and back takes.
      const hurried = { ...slowLoad, prefix: 'hurried-', callOptions: { timeoutMs: 30 } };
      const lines = near.log.length;
      const { connects } = await near.counters();
      const problem = await network.slow(slowness);
      if (problem !== undefined) {
        console.warn(`SKIPPED: a slow network: ${problem}`);
        await endsTruthfully();
        context.skip();
      }
      await client.startLoad(patient);
      await client.startLoad(hurried);
      const { ok } = await client.loadSoFar('far-');
      await client.reached('far-', ok + 20);
      await client.reached('patient-', 200);
      await until('deadlines to fire', async () => {
        const { failures: late } = await client.loadSoFar('hurried-');
        return late.length > 50;
      });
      const late = await client.endLoad('hurried-');
      expect(late.ok).toBe(0);
      for (const { status } of late.failures) expect(status).toBe('DEADLINE_EXCEEDED');
      expect(late.failures.some(({ mayHaveRun }) => mayHaveRun)).toBe(true);

      await network.fast();
      await comesBack();
      const inTime = await client.endLoad('patient-');
      expect(failuresOf(inTime)).toEqual({});
      expect((await near.counters())['connects']).toBe(connects);
      for (const agent of [near, far])
        expect(agent.log.filter(({ msg }) => msg === 'link closed')).toEqual([]);
      expect(near.log.slice(lines).filter(({ msg }) => msg.startsWith('another agent'))).toEqual([]);
      await endsTruthfully();
    },
  );
});
