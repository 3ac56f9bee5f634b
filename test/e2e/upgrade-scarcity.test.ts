// A new process that runs out of something once it has the offer. Without descriptors or memory it ends and says why, and the old one serves on as if
// nothing had happened; an old one without descriptors can be replaced all the same. Room on disk it does not need: with a full one under its log and its registry it takes over, and its leases go on.
import { mkdirSync } from 'node:fs';
import { connect as connectUnix } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { HandoffSteps, stopped } from '../support/handoff-steps.js';
import { leaveDescriptors, leaveMemory } from '../support/limits.js';
import { Mesh } from '../support/mesh.js';
import { preloadProblem } from '../support/preloaded.js';
import type { StartOptions } from '../support/running-process.js';
import { fillDisk, mountProblem, mountTmpfs } from '../support/small-disk.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const leaseMs = 2_000;
const prefix = 'on-';

let mesh: Mesh;
let near: AgentProcess;
let far: AgentProcess;
let server: AppProcess;
let client: AppProcess;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

/** Two agents with a load from one to the other. */
async function start(options: StartOptions = {}): Promise<void> {
  const config = { registry: { leaseMs, sweepMs: 200 } };
  near = await mesh.agent('near', config, options);
  far = await mesh.agent('far', config, options);
  server = await mesh.server('server', far, { service: 'ledger' });
  client = await mesh.client('client', near);
  await mesh.reachable(client, 'ledger');
  const callOptions = { timeoutMs: 60_000 };
  await client.startLoad({ service: 'ledger', method: 'record', inFlight: 8, prefix, callOptions });
  await goesOn();
}

async function goesOn(): Promise<void> {
  const { ok } = await client.loadSoFar(prefix);
  await client.reached(prefix, ok + 50);
}

async function nobodyNoticed(): Promise<void> {
  await goesOn();
  const summary = await client.endLoad(prefix);
  expect(failuresOf(summary)).toEqual({});
  expectTruth(summary, [{ ran: () => server.ran().filter((id) => id.startsWith(prefix)) }]);
}

if (preloadProblem !== undefined)
  console.warn(`SKIPPED: a new process runs out of something: ${preloadProblem}`);
it.skipIf(preloadProblem !== undefined).each([
  ['descriptors', (pid: number) => leaveDescriptors(pid, 0), /raise the limit on open files/],
  // Whether the engine or V8 is the first to find out is chance.
  ['memory', (pid: number) => leaveMemory(pid, 0), /[Mm]emory|bad_alloc/],
] as const)(
  'without %s after the offer: the new process ends and says why',
  async (_what, deprive, reason) => {
    await start();
    const steps = new HandoffSteps(mesh.directory);
    for (const whose of ['near', 'far'] as const) {
      const agent = whose === 'near' ? near : far;
      const next = mesh.successor(agent, { env: steps.env('received offer', 'stop') });
      await stopped(next.process);
      deprive(next.pid);
      next.process.signal('SIGCONT');
      expect(await next.process.over()).not.toMatchObject({ code: 0 });
      expect(next.process.stderr).toMatch(reason);
      await agent.logged('the failure', ({ msg }) => msg === 'the handoff failed; this agent goes on');
      await goesOn();
    }
    // Nothing stayed behind that would keep the next one from it.
    near = await mesh.upgrade(near);
    far = await mesh.upgrade(far);
    await nobodyNoticed();
  },
);

it('an old process without descriptors is replaced by one that may have more', async () => {
  await start();
  for (const whose of ['near', 'far'] as const) {
    const agent = whose === 'near' ? near : far;
    leaveDescriptors(agent.pid, 0);
    const waiting = connectUnix(agent.socket);
    await agent.logged('the trouble', ({ msg }) => msg.startsWith('a listener is in trouble'));
    const next = await mesh.upgrade(agent);
    if (whose === 'near') near = next;
    else far = next;
    await mesh.client(`late-${whose}`, next, 'unix');
    waiting.destroy();
    await goesOn();
  }
  await nobodyNoticed();
});

if (mountProblem !== undefined) console.warn(`SKIPPED: upgrades on a full disk: ${mountProblem}`);
it.skipIf(mountProblem !== undefined)(
  'with a disk that is full: it takes over, and no lease ends',
  async () => {
    const disk = join(mesh.directory, 'registry');
    mkdirSync(disk);
    mesh.undo.push(mountTmpfs(disk, 'size=256k,mode=0700'));
    const full: StartOptions = { through: ['sh', '-c', 'exec "$0" "$@" >/dev/full'] };
    await start(full);
    const makeRoom = fillDisk(disk);
    near = await mesh.upgrade(near, full);
    far = await mesh.upgrade(far, full);
    const untilMs = performance.now() + 2 * leaseMs;
    await until('several leases to have passed', () => performance.now() > untilMs);
    await goesOn();
    expect(await far.readiness()).toMatchObject({ ok: true });
    expect(mesh.registered()).toHaveLength(1);
    makeRoom();
    await nobodyNoticed();
  },
);
