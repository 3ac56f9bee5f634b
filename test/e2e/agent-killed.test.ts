// An agent dies without a word under load and comes back. Callers learn the truth about every call, apps climb back to shared
// memory and publish again by themselves, and nothing leaks in them.
import { expect, it } from 'vitest';
import type { AgentConfig } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { lastingFdCount, memfdMappings } from '../support/proc-facts.js';
import { expectTruth } from '../support/truth.js';
import { until } from '../support/until.js';

const config: AgentConfig = { registry: { leaseMs: 1_000, sweepMs: 200 }, log: { level: 'info' } };
const record = { service: 'ledger', method: 'record', callOptions: { attachments: { 'work-ms': '2' } } };
const cycles = 3;

async function settled(app: AppProcess, fds: number): Promise<void> {
  await until(`${app.name} to hold as many descriptors as before`, () => lastingFdCount(app.pid) === fds);
  expect(memfdMappings(app.pid)).toBe(1);
}

it.each([
  ["the callers'", 'near'],
  ["the servers'", 'far'],
] as const)('%s agent killed under load, and started again', async (_whose, victim) => {
  const mesh = new Mesh();
  try {
    const agents = {
      near: await mesh.agent('near', config),
      far: await mesh.agent('far', config),
    };
    const server = await mesh.server('server', agents.far, { service: 'ledger' });
    const client = await mesh.client('client', agents.near);
    await mesh.reachable(client, 'ledger');
    const fds = { near: lastingFdCount(client.pid), far: lastingFdCount(server.pid) };
    const beside = { near: client, far: server }[victim];
    const other = { near: server, far: client }[victim];
    const otherFds = fds[victim === 'near' ? 'far' : 'near'];

    for (let cycle = 0; cycle < cycles; cycle++) {
      const prefix = `${victim}-${cycle}-`;
      beside.events.length = 0;
      await client.startLoad({ ...record, inFlight: 32, prefix });
      await client.reached(prefix, 500);
      await agents[victim].kill();
      await beside.event('transport', { transport: 'none' });
      // On the same ports, as agents have them in production: peers are there again before the apps are.
      const { inbound, loopback } = agents[victim];
      const ports = { inbound: { port: inbound }, loopback: { port: loopback } };
      agents[victim] = await mesh.agent(victim, { ...config, ...ports });
      await beside.event('transport', { transport: 'shm' });
      const { ok } = await client.loadSoFar(prefix);
      await client.reached(prefix, ok + 500);
      const summary = await client.endLoad(prefix);

      expect(new Set(summary.failures.map(({ status }) => status))).toEqual(new Set(['UNAVAILABLE']));
      // Only what was under way at the moment of death is in doubt, and once more what went to a port that the kernel had
      // not closed yet: requests follow a hello without waiting for the welcome.
      expect(summary.failures.filter(({ mayHaveRun }) => mayHaveRun).length).toBeLessThanOrEqual(2 * 32);
      expectTruth(summary, [ranWith(server, prefix)]);
      await settled(beside, fds[victim]);
      await settled(other, otherFds);
      await agents.near.quiet();
      await agents.far.quiet();
    }
  } finally {
    await mesh.close();
  }
});

/** The server's record of one load. */
function ranWith(server: AppProcess, prefix: string): Pick<AppProcess, 'ran'> {
  return { ran: () => server.ran().filter((id) => id.startsWith(prefix)) };
}

it('an app that found no shared memory takes it when an agent comes that has it', async () => {
  const mesh = new Mesh();
  try {
    const first = await mesh.agent('agent', { ...config, shm: { enabled: false } });
    const server = await mesh.app('server');
    const way = { agent: { socket: first.socket, tcp: `tcp://127.0.0.1:${first.loopback}` } };
    expect(await server.serve({ service: 'ledger', ...way })).toMatchObject({ transport: 'unix' });
    const client = await mesh.app('client');
    expect(await client.connect(way)).toBe('unix');
    await mesh.reachable(client, 'ledger');

    expect(await first.process.end()).toMatchObject({ code: 0 });
    const second = await mesh.agent('agent', { ...config, loopback: { port: first.loopback } });
    expect(second.loopback).toBe(first.loopback);
    await Promise.all([
      server.event('transport', { transport: 'shm' }),
      client.event('transport', { transport: 'shm' }),
    ]);
    await mesh.reachable(client, 'ledger');
  } finally {
    await mesh.close();
  }
});
