// The network between two agents fails in every way that we can make it fail: cut, blackhole, half-open, reset, delay. Deadlines fire meanwhile,
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
    near = await mesh.agent('near', { timeouts });
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
    await mesh.close();
  });

  async function startFar(port: number): Promise<AgentProcess> {
    const { host } = network;
    const agent = await mesh.agent(
      'far',
      // Its admin server must be reached from here.
      { timeouts, inbound: { host, port }, advertise: { host }, admin: { host } },
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

  async function endsTruthfully(): Promise<LoadSummary> {
    const [summary, beside] = [await client.endLoad('far-'), await client.endLoad('near-')];
    await mesh.reachable(client, 'ledger');
    await near.quiet();
    const ran = server.ran();
    expectTruth(summary, [{ ran: () => ran.filter((id) => id.startsWith('far-')) }]);
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

  it('delay: calls take longer, and no link is lost for it', async (context) => {
    const problem = network.delay(100);
    if (problem !== undefined) {
      console.warn(`SKIPPED: a delayed network: ${problem}`);
      await endsTruthfully();
      context.skip();
    }
    const lines = near.log.length;
    await comesBack();
    expect(near.log.slice(lines).filter(({ msg }) => msg === 'link closed')).toEqual([]);
    network.delay(0);
    await endsTruthfully();
  });
});
