// Signals and changes of the configuration at any moment of a takeover: from the moment in which a process can be found none of them ends it, and what
// came early is done later.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess, LogLine } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { HandoffSteps, stopped } from '../support/handoff-steps.js';
import { Mesh } from '../support/mesh.js';
import { preloadProblem } from '../support/preloaded.js';
import { failuresOf } from '../support/truth.js';

const config = { registry: { leaseMs: 6_000, sweepMs: 200 } };
const load = { service: 'ledger', method: 'who', inFlight: 4, prefix: 'calls-' };
const over = { code: 0, signal: null };

let mesh: Mesh;
let agent: AgentProcess;
let client: AppProcess;
beforeEach(async () => {
  mesh = new Mesh();
  agent = await mesh.agent('agent', config);
  await mesh.server('server', agent, { service: 'ledger' });
  client = await mesh.client('client', agent);
  await mesh.reachable(client, 'ledger');
  await client.startLoad(load);
});
afterEach(() => mesh.close());

/** The load goes on for a while and nothing of it has failed. */
async function expectNothingFailed(): Promise<void> {
  const { ok } = await client.loadSoFar('calls-');
  await client.reached('calls-', ok + 200);
  expect(failuresOf(await client.endLoad('calls-'))).toEqual({});
}

describe('SIGHUP', () => {
  it('again and again to both processes of a takeover, from its first word on, ends neither', async () => {
    const next = mesh.successor(agent);
    await agent.logged('the first word', ({ msg }) => msg === 'a new process asks to take over');
    const hangUp = setInterval(() => {
      agent.process.signal('SIGHUP');
      next.process.signal('SIGHUP');
    }, 1);
    try {
      await next.ready();
      expect(await agent.process.over()).toEqual(over);
      mesh.agents.splice(mesh.agents.indexOf(agent), 1);
    } finally {
      clearInterval(hangUp);
    }
    await expectNothingFailed();
  });

  it('while nothing has changed, SIGUSR1 and SIGUSR2 leave an agent as it is', async () => {
    for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGHUP'] as const) agent.process.signal(signal);
    agent.change({ log: { level: 'debug' } });
    await agent.logged('the change', ({ fields }) => Array.isArray(fields) && fields.includes('log.level'));
    await expectNothingFailed();
    expect(agent.process.stderr).not.toContain('Debugger');
  });
});

describe.skipIf(preloadProblem !== undefined)(
  'while a new process stands still before it has everything',
  () => {
    let next: AgentProcess;
    beforeEach(async () => {
      const steps = new HandoffSteps(mesh.directory);
      next = mesh.successor(agent, { env: steps.env('received offer', 'stop') });
      await stopped(next.process);
    });

    it('a changed configuration is followed by both, by the new one when it serves', async () => {
      const levelFollowed = ({ fields }: LogLine): boolean =>
        Array.isArray(fields) && fields.includes('log.level');
      agent.change({ log: { level: 'debug' } });
      await agent.logged('the change', levelFollowed);
      next.process.signal('SIGCONT');
      await next.ready();
      expect(await agent.process.over()).toEqual(over);
      mesh.agents.splice(mesh.agents.indexOf(agent), 1);
      await next.logged('the change', levelFollowed);
      await expectNothingFailed();
    });

    it('a SIGHUP to it is done when it serves', async () => {
      next.process.signal('SIGHUP');
      agent.change({ timeouts: { drainMs: 9_000 } });
      next.process.signal('SIGCONT');
      await next.ready();
      expect(await agent.process.over()).toEqual(over);
      mesh.agents.splice(mesh.agents.indexOf(agent), 1);
      await next.logged(
        'the change',
        ({ fields }) => Array.isArray(fields) && fields.includes('timeouts.drainMs'),
      );
      await expectNothingFailed();
    });

    it.each(['SIGTERM', 'SIGINT'] as const)('%s to it ends it, and the old one serves on', async (signal) => {
      next.process.signal(signal);
      next.process.signal('SIGCONT');
      expect(await next.process.over()).toEqual({ code: 1, signal: null });
      expect(next.process.stderr).toContain('asked to end');
      next.forced = true; // the socket that is still there is the old one's
      await agent.logged('the failure', ({ msg }) => msg.startsWith('the handoff failed'));
      await expectNothingFailed();
    });

    it('SIGTERM to the old one ends both, the old one by draining', async () => {
      await client.endLoad('calls-');
      const draining = agent.process.end('SIGTERM');
      await agent.logged('the failure', ({ msg }) => msg.startsWith('the handoff failed'));
      next.process.signal('SIGCONT');
      expect(await next.process.over()).toEqual({ code: 1, signal: null });
      expect(next.process.stderr).toContain('draining');
      await Promise.all(mesh.apps.map((app) => app.process.end()));
      expect(await draining).toEqual(over);
      expect(mesh.registered()).toEqual([]);
    });
  },
);
