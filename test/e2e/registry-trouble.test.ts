// The registry's directory is read-only, unreadable or full, and the wall clock jumps. What is served goes on being called, what cannot be
// published is refused with the reason, agents and apps say what is wrong, and all is well again by itself. The agents run as an
// unprivileged user here, since permission bits do not hold root.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { InjectedFaults } from '../support/injected-faults.js';
import { refuseFilesOver } from '../support/limits.js';
import { Mesh } from '../support/mesh.js';
import { preloadProblem } from '../support/preloaded.js';
import { mountProblem, mountTmpfs } from '../support/small-disk.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const asRoot = process.getuid?.() === 0;
const nobody = 65_534;
const leaseMs = 3_000;
const load = {
  service: 'ledger',
  method: 'record',
  inFlight: 2,
  prefix: 'on-',
  callOptions: { timeoutMs: 20_000 },
};

let mesh: Mesh;
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
beforeEach(() => {
  mesh = new Mesh();
  chmodSync(mesh.directory, 0o711);
});
afterEach(() => mesh.close());

/** A directory that belongs to the agents' user. */
function ownDirectory(name: string): void {
  const path = join(mesh.directory, name);
  mkdirSync(path, { mode: 0o700 });
  if (asRoot) chownSync(path, nobody, nobody);
}

const user = asRoot ? { uid: nobody } : {};

/** Two agents, a service behind one and a load on it through the other. */
async function start(env: Record<string, string> = {}): Promise<void> {
  const config = {
    registry: { leaseMs, sweepMs: 200 },
    // Links that open are told there only.
    log: { level: 'debug' },
    socket: { allowUids: [process.getuid?.() ?? 0, nobody] },
  };
  for (const name of ['near', 'far']) ownDirectory(name);
  [near, far] = await Promise.all([
    mesh.agent('near', { ...config, ...takeoverAt('near') }, { ...user, env }),
    mesh.agent('far', { ...config, ...takeoverAt('far') }, { ...user, env }),
  ]);
  await mesh.server('server', far, { service: 'ledger' });
  client = await mesh.client('client', near);
  await mesh.reachable(client, 'ledger');
  await client.startLoad(load);
}

function takeoverAt(name: string): { takeover: { path: string } } {
  return { takeover: { path: join(mesh.directory, name, 'takeover', 'agent.sock') } };
}

async function goesOn(): Promise<void> {
  const { ok } = await client.loadSoFar(load.prefix);
  await client.reached(load.prefix, ok + 50);
}
async function endsWithoutFailure(): Promise<void> {
  await goesOn();
  expect(failuresOf(await client.endLoad(load.prefix))).toEqual({});
}

/** Waits until the lease of the only instance was renewed more often than it takes to outlive it. */
async function renewed(): Promise<void> {
  const [file] = mesh.registered();
  const seen = new Set<number>();
  await until('the lease to be renewed again and again', () => {
    seen.add(statSync(join(mesh.registryDirectory, file as string)).mtimeMs);
    return seen.size > 4;
  });
}

/** Offers a second service at `far` and expects it to be refused; `mend` makes that it no longer is. */
async function publishesOnlyWhenMended(reason: string, mend: () => void): Promise<void> {
  const newcomer = await mesh.app('newcomer');
  // On unix, since a limit on files refuses rings as well.
  const offer = { ...wayTo(far, 'unix'), service: 'newcomer' };
  await expect(newcomer.serve(offer)).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    message: expect.stringMatching(new RegExp(`cannot register .*${reason}`)) as string,
  });
  const said = await far.logged('what could not be published', ({ msg }) => {
    return msg === 'could not put newcomer into the registry';
  });
  expect(said['error']).toContain(reason);
  await goesOn();
  mend();
  expect(await newcomer.serve(offer)).toMatchObject({ transport: 'unix' });
  await mesh.reachable(client, 'newcomer');
}

const inTrouble = (agent: AgentProcess) =>
  agent.logged('that the registry is in trouble', ({ msg }) => msg.startsWith('the registry is in trouble'));
const wellAgain = (agent: AgentProcess) =>
  agent.logged('that the registry is well', ({ msg }) => msg === 'the registry is well again');

describe("the registry's directory", () => {
  it('read-only: leases go on, nothing new is published until it can be written', async () => {
    ownDirectory('registry');
    await start();
    chmodSync(mesh.registryDirectory, 0o500);
    await renewed();
    await publishesOnlyWhenMended('EACCES', () => chmodSync(mesh.registryDirectory, 0o700));
    await endsWithoutFailure();
  });

  it('unreadable: the last good list serves on for longer than any lease, and it is well again by itself', async () => {
    ownDirectory('registry');
    await start();
    chmodSync(mesh.registryDirectory, 0o000);
    const [said] = await Promise.all([inTrouble(near), inTrouble(far)]);
    expect(said['problem']).toContain('EACCES');
    // It serves from its last good list: trouble, and no reason to send it nothing.
    const readiness = await near.readiness();
    expect(readiness).toMatchObject({ ok: true, reasons: [] });
    expect(readiness.warnings.join()).toMatch(/^registry directory: .*EACCES/);
    const endMs = performance.now() + 2 * leaseMs;
    await until('several leases to have passed', () => performance.now() > endMs);
    await goesOn();
    chmodSync(mesh.registryDirectory, 0o700);
    await Promise.all([wellAgain(near), wellAgain(far)]);
    await renewed();
    expect(await near.readiness()).toEqual({ ok: true, reasons: [], warnings: [] });
    await endsWithoutFailure();
  });

  it('no room for another file (RLIMIT_FSIZE): refused with the reason, leases go on', async () => {
    ownDirectory('registry');
    await start();
    await publishesOnlyWhenMended('EFBIG', refuseFilesOver(far.pid, 16));
    await endsWithoutFailure();
  });

  if (mountProblem !== undefined) console.warn(`SKIPPED: a registry on a full file system: ${mountProblem}`);
  it.skipIf(mountProblem !== undefined)(
    'on a full file system: refused with the reason, leases go on',
    async () => {
      mkdirSync(mesh.registryDirectory);
      // Room for the directory and two files: an instance, and the one that is being written.
      mesh.undo.push(mountTmpfs(mesh.registryDirectory, `nr_inodes=3,mode=0700,uid=${nobody}`));
      await start();
      await renewed();
      mkdirSync(join(mesh.registryDirectory, 'filler'));
      await publishesOnlyWhenMended('ENOSPC', () => {
        execFileSync('mount', ['-o', 'remount,nr_inodes=20', mesh.registryDirectory]);
      });
      await endsWithoutFailure();
    },
  );
});

if (preloadProblem !== undefined) console.warn(`SKIPPED: the wall clock does not jump: ${preloadProblem}`);
describe.skipIf(preloadProblem !== undefined)('the wall clock', () => {
  it('jumps forward and back by days, and agents are replaced then: no lease ends, no call fails, and the dead still leave', async () => {
    ownDirectory('registry');
    const faults = new InjectedFaults(mesh.directory);
    await start(faults.env);
    for (const days of [1, -3, 0]) {
      faults.set({ wallOffsetS: days * 86_400 });
      // Before anybody has renewed a lease by the new time.
      near = await mesh.upgrade(near, { ...user, env: faults.env });
      await goesOn();
      far = await mesh.upgrade(far, { ...user, env: faults.env });
      await renewed();
      await mesh.client(`client of day ${days}`, near);
      const opened = await near.logged('a link of that day', ({ app }) => app === `client of day ${days}`);
      const offMs = Date.parse(String(opened['time'])) - Date.now() - days * 86_400_000;
      expect(Math.abs(offMs)).toBeLessThan(3_600_000);
      await goesOn();
    }
    expect(near.log.filter(({ msg }) => msg.startsWith('the registry is in trouble'))).toEqual([]);
    await endsWithoutFailure();

    faults.set({ wallOffsetS: -86_400 });
    await far.kill();
    await until('the lease of the dead to end', async () => {
      const cluster = (await near.clusters()).find(({ service }) => service === 'ledger');
      return cluster?.endpoints.length === 0;
    });
    await until('its file to be removed', () => mesh.registered().length === 0);
  });
});
