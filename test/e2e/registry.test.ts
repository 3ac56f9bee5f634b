// Instances come and go while callers call; the registry's directory is lost and comes back; several agents share it.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const config = { registry: { leaseMs: 2_000, sweepMs: 100 } };
let mesh: Mesh;
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;

beforeEach(async () => {
  mesh = new Mesh();
  [near, far] = await Promise.all([mesh.agent('near', config), mesh.agent('far', config)]);
  client = await mesh.client('client', near);
});
afterEach(() => mesh.close());

const who = async (): Promise<string> => (await client.call('ledger', 'who')).body.toString();
/** Who answers how many of a thousand calls. */
async function answering(): Promise<Record<string, number>> {
  await client.startLoad({ service: 'ledger', method: 'who', inFlight: 8, total: 1_000, prefix: 'who-' });
  const { by, failures } = await client.endLoad('who-', false);
  expect(failuresOf({ failures })).toEqual({});
  return by;
}

it('a service that is called before it exists is found as soon as it does', async () => {
  await expect(who()).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
  await mesh.server('first', far, { service: 'ledger' });
  await mesh.reachable(client, 'ledger');
  expect(await who()).toBe('first');
});

it('an instance started later gets its share, one that stopped gets none, on several agents of one directory', async () => {
  const third = await mesh.agent('third', config);
  const first = await mesh.server('first', far, { service: 'ledger' });
  await mesh.reachable(client, 'ledger');
  expect(await answering()).toEqual({ first: 1_000 });

  await mesh.server('second', third, { service: 'ledger' });
  await mesh.server('beside', near, { service: 'ledger' });
  await until('all three to be known', async () => {
    const cluster = (await near.clusters()).find(({ service, direction }) => {
      return service === 'ledger' && direction === 'outbound';
    });
    return cluster?.endpoints.length === 3;
  });
  const shares = await answering();
  expect(Object.keys(shares).sort()).toEqual(['beside', 'first', 'second']);
  for (const share of Object.values(shares)) expect(share).toBeGreaterThan(100);

  await first.closeServer();
  expect(Object.keys(await answering()).sort()).toEqual(['beside', 'second']);
  // Everybody sees the same, from wherever it is asked.
  const elsewhere = await mesh.client('elsewhere', third);
  await mesh.reachable(elsewhere, 'ledger');
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) seen.add((await elsewhere.call('ledger', 'who')).body.toString());
  expect(seen).toEqual(new Set(['beside', 'second']));
});

it.each(['is gone', 'is a file'])(
  'while the directory %s the last good list serves on, and all recovers',
  async (what) => {
    await mesh.server('first', far, { service: 'ledger' });
    await mesh.reachable(client, 'ledger');
    renameSync(mesh.registryDirectory, `${mesh.registryDirectory}.aside`);
    if (what === 'is a file') {
      writeFileSync(mesh.registryDirectory, 'not a directory');
      await until('/ready to say so', async () => {
        const { warnings } = await near.readiness();
        return warnings.some((warning) => warning.includes(mesh.registryDirectory));
      });
      // It serves from its last good list, so it is not to be taken out of service.
      const response = await fetch(`${near.adminUrl}/ready`);
      expect(response.status).toBe(200);
      expect(await (await fetch(`${near.adminUrl}/metrics`)).text()).toMatch(/^ringside_warnings [1-9]/m);
      // Longer than the lease that the list was read with.
      const brokenMs = performance.now();
      while (performance.now() - brokenMs < 2_500) expect(await answering()).toEqual({ first: 1_000 });
      rmSync(mesh.registryDirectory);
      renameSync(`${mesh.registryDirectory}.aside`, mesh.registryDirectory);
    }
    // Those that serve put themselves back.
    await until('all agents to be well', async () => {
      const views = await Promise.all([near.readiness(), far.readiness()]);
      return views.every(({ ok, warnings }) => ok && warnings.length === 0) && mesh.registered().length === 1;
    });
    expect(await answering()).toEqual({ first: 1_000 });
    await mesh.server('second', near, { service: 'ledger' });
    await until('news to be seen again', async () => Object.keys(await answering()).length === 2);
  },
);

it('an agent starts while the directory cannot be used, says so, and finds everybody when it can', async () => {
  await mesh.server('first', far, { service: 'ledger' });
  const aside = `${mesh.registryDirectory}.aside`;
  renameSync(mesh.registryDirectory, aside);
  writeFileSync(mesh.registryDirectory, 'not a directory');
  const late = await mesh.agent('late', config);
  expect((await late.readiness()).ok).toBe(false);
  rmSync(mesh.registryDirectory);
  renameSync(aside, mesh.registryDirectory);
  const caller = await mesh.client('caller', late);
  await mesh.reachable(caller, 'ledger');
  await until('the agent to be well', async () => (await late.readiness()).ok);
});
