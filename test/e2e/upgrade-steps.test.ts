// A handoff that is killed or stopped at each of its steps, on either side, under load on every transport. Until the commit the old agent
// serves on and no call fails, if only it lives; after it the old one's end or standstill harms nothing. What dies with all links in its
// hands is a crash like any other.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, LoadSummary } from '../support/app-process.js';
import { HandoffSteps, stopped } from '../support/handoff-steps.js';
import type { HandoffStep } from '../support/handoff-steps.js';
import { Mesh } from '../support/mesh.js';
import { preloadProblem } from '../support/preloaded.js';
import { steadyPort } from '../support/steady-port.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

/** The new process, before it has everything. */
const newBefore: HandoffStep[] = [
  'sent hello',
  'received offer',
  'sent ready',
  'received descriptors',
  'sent received',
  'received state',
  'about to send taken',
];
/** The old process, while only it has everything. */
const oldBefore: HandoffStep[] = [
  'received hello',
  'sent offer',
  'received ready',
  'sent descriptors',
  'received received',
  'about to send state',
];

if (preloadProblem !== undefined) console.warn(`SKIPPED: steps of a handoff: ${preloadProblem}`);

describe.skipIf(preloadProblem !== undefined)('a handoff', () => {
  const mesh = new Mesh();
  const config = {
    // Whoever is not stopped renews in time, were the machine ever so busy.
    registry: { leaseMs: 6_000, sweepMs: 200 },
    takeover: { deadlineMs: 3_000 },
    inbound: { port: 0 },
    loopback: { port: 0 },
    admin: { port: 0 },
  };
  let steps: HandoffSteps;
  let agent: AgentProcess;
  let clients: AppProcess[];
  let servers: AppProcess[];

  beforeAll(async () => {
    steps = new HandoffSteps(mesh.directory);
    const far = await mesh.agent('far', { registry: config.registry });
    // On ports of their own, as in production: the admin server's must pass on too.
    for (const listener of [config.inbound, config.loopback, config.admin]) listener.port = steadyPort();
    agent = await mesh.agent('near', config);
    servers = [
      await mesh.server('beside', agent, { service: 'ledger' }, 'tcp'),
      await mesh.server('beyond', far, { service: 'ledger' }, 'shm'),
    ];
    clients = [
      await mesh.client('client-shm', agent, 'shm'),
      await mesh.client('client-unix', agent, 'unix'),
      await mesh.client('client-tcp', agent, 'tcp'),
    ];
    for (const client of clients) {
      await mesh.reachable(client, 'ledger');
      await client.startLoad({
        service: 'ledger',
        method: 'record',
        inFlight: 4,
        prefix: `${client.name}-`,
        callOptions: { timeoutMs: 60_000, attachments: { 'work-ms': '5' } },
      });
    }
    await goesOn();
  });

  afterAll(async () => {
    for (const client of clients) {
      const prefix = `${client.name}-`;
      const summary = await client.endLoad(prefix);
      expectTruth(
        summary,
        servers.map((server) => ({ ran: () => server.ran().filter((id) => id.startsWith(prefix)) })),
      );
    }
    await until(
      'the instances of the dead to leave the registry',
      () => mesh.registered().length === servers.length,
    );
    await mesh.close();
  });

  /** Waits until every client has had some more answers. */
  async function goesOn(): Promise<void> {
    for (const client of clients) {
      const prefix = `${client.name}-`;
      const { ok } = await client.loadSoFar(prefix);
      await client.reached(prefix, ok + 20);
    }
  }

  /** Of each client, in the order in which they came. */
  function failures(): Promise<LoadSummary['failures'][]> {
    return Promise.all(clients.map(async (client) => (await client.loadSoFar(`${client.name}-`)).failures));
  }

  /** Runs `happens`, goes on with the load, and fails if a call has failed meanwhile. */
  async function unnoticed(happens: () => Promise<void>): Promise<void> {
    const before = await failures();
    await happens();
    await goesOn();
    for (const [i, all] of (await failures()).entries())
      expect(failuresOf({ failures: all.slice(before[i]?.length) }), clients[i]?.name).toEqual({});
  }

  async function hasFailedFor(old: AgentProcess, lines: number): Promise<void> {
    await old.process.seen('the failure', () =>
      old.log.slice(lines).some(({ msg }) => msg === 'the handoff failed; this agent goes on'),
    );
  }

  /** The process is gone with all that the agent had: somebody has to start it again. */
  async function startAgain(gone: AgentProcess): Promise<void> {
    mesh.agents.splice(mesh.agents.indexOf(gone), 1);
    agent = await mesh.agent('near', config);
    await goesOn();
  }

  describe('whose new process', () => {
    it.each(newBefore)('dies when it has %s: the old one serves on', (step) =>
      unnoticed(async () => {
        const lines = agent.log.length;
        const next = mesh.successor(agent, { env: steps.env(step, 'kill') });
        expect(await next.process.over()).toMatchObject({ signal: 'SIGKILL' });
        await hasFailedFor(agent, lines);
      }),
    );

    it.each(newBefore)('hangs when it has %s: the old one serves on, the new one ends', (step) =>
      unnoticed(async () => {
        const lines = agent.log.length;
        const next = mesh.successor(agent, { env: steps.env(step, 'stop') });
        await stopped(next.process);
        await hasFailedFor(agent, lines);
        await goesOn();
        next.process.signal('SIGCONT');
        expect(await next.process.over()).toMatchObject({ code: 1 });
        expect(next.process.stderr).toContain('the takeover failed: ');
      }),
    );

    it('hangs when it has taken: it has everything, and serves when it goes on', () =>
      unnoticed(async () => {
        const next = mesh.successor(agent, { env: steps.env('sent taken', 'stop') });
        await stopped(next.process);
        expect(await agent.process.over()).toMatchObject({ code: 0 });
        next.process.signal('SIGCONT');
        await next.ready();
        agent = next;
      }));

    it('dies when it has taken: a crash, after which an agent is started again', async () => {
      const next = mesh.successor(agent, { env: steps.env('sent taken', 'kill') });
      expect(await next.process.over()).toMatchObject({ signal: 'SIGKILL' });
      expect(await agent.process.over()).toMatchObject({ code: 0 });
      await startAgain(next);
    });
  });

  describe('whose old process', () => {
    it.each(oldBefore)(
      'hangs when it has %s: the new one gives up, the old one goes on where it was',
      (step) =>
        unnoticed(async () => {
          agent = await mesh.upgrade(agent, { env: steps.env(step, 'stop') });
          const lines = agent.log.length;
          const next = mesh.successor(agent);
          await stopped(agent.process);
          expect(await next.process.over()).toMatchObject({ code: 1 });
          expect(next.process.stderr).toContain('the handoff took too long');
          agent.process.signal('SIGCONT');
          await hasFailedFor(agent, lines);
        }),
    );

    it.each(['sent state', 'received taken'] as const)(
      'hangs when it has %s: the new one serves, the old one leaves when it goes on',
      (step) =>
        unnoticed(async () => {
          agent = await mesh.upgrade(agent, { env: steps.env(step, 'stop') });
          const old = agent;
          agent = mesh.successor(old);
          await Promise.all([stopped(old.process), agent.ready()]);
          await goesOn();
          old.process.signal('SIGCONT');
          expect(await old.process.over()).toMatchObject({ code: 0 });
          await agent.logged('the admin server', ({ msg }) => msg === 'the admin server listens');
        }),
    );

    it.each(oldBefore)('dies when it has %s: the new one ends and says why', async (step) => {
      agent = await mesh.upgrade(agent, { env: steps.env(step, 'kill') });
      const next = mesh.successor(agent);
      expect(await agent.process.over()).toMatchObject({ signal: 'SIGKILL' });
      expect(await next.process.over()).toMatchObject({ code: 1 });
      expect(next.process.stderr).toMatch(/the old agent (closed the handoff|went away|took back)/);
      await startAgain(agent);
    });

    it('dies when it has sent state: the new one has taken by then, or ends and says why', async () => {
      const old = await mesh.upgrade(agent, { env: steps.env('sent state', 'kill') });
      agent = mesh.successor(old);
      const ready = agent.ready().then(
        () => true,
        () => false,
      );
      expect(await old.process.over()).toMatchObject({ signal: 'SIGKILL' });
      const serves = await ready;
      if (serves) {
        mesh.agents.splice(mesh.agents.indexOf(old), 1);
        await goesOn();
      } else {
        expect(agent.process.ending).toMatchObject({ code: 1 });
        expect(agent.process.stderr).toContain('the old agent took back what it had offered');
        await startAgain(old);
      }
    });

    it('dies when it has received taken: the new one serves', () =>
      unnoticed(async () => {
        const old = await mesh.upgrade(agent, { env: steps.env('received taken', 'kill') });
        agent = mesh.successor(old);
        await Promise.all([old.process.over(), agent.ready()]);
        expect(old.process.ending).toMatchObject({ signal: 'SIGKILL' });
        mesh.agents.splice(mesh.agents.indexOf(old), 1);
      }));
  });
});
