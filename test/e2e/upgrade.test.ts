// A new process takes over from a running agent under load. Nobody notices: no call fails, none runs twice, no link ends or is made
// anew; and what is counted goes on where it was.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.js';
import type { AgentConfig } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { openFiles } from '../support/proc-facts.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const config: AgentConfig = { registry: { leaseMs: 2_000, sweepMs: 200 }, log: { level: 'info' } };
const upgrades = 4;

/** What the rings are made of, by what it is; the numbers of pipes tell whether they are the same ones. */
function engineFds(pid: number): string[] {
  return openFiles(pid)
    .filter((file) => /memfd:ringside|eventfd|ringside-handoff/.test(file))
    .sort();
}

async function linksOf(agent: AgentProcess): Promise<string[]> {
  return (await agent.links()).map(({ id, kind, role, peer }) => `${id} ${kind} ${role} ${peer}`).sort();
}

it.each([
  ['the callers agent', 'near'],
  ['the servers agent', 'far'],
] as const)('%s is replaced several times under load on every transport', async (_whose, replaced) => {
  const mesh = new Mesh();
  try {
    const agents = { near: await mesh.agent('near', config), far: await mesh.agent('far', config) };
    const servers = [
      await mesh.server('server-shm', agents.far, { service: 'ledger' }, 'shm'),
      await mesh.server('server-unix', agents.far, { service: 'ledger' }, 'unix'),
      await mesh.server('server-tcp', agents.far, { service: 'ledger' }, 'tcp'),
    ];
    const clients = [
      await mesh.client('client-shm', agents.near, 'shm'),
      await mesh.client('client-unix', agents.near, 'unix'),
      await mesh.client('client-tcp', agents.near, 'tcp'),
    ];
    for (const client of clients) await mesh.reachable(client, 'ledger');
    for (const client of clients) {
      await client.startLoad({
        service: 'ledger',
        method: 'record',
        inFlight: 16,
        prefix: `${client.name}-record-`,
        callOptions: { attachments: { 'work-ms': '3' } },
      });
      await client.startLoad({
        service: 'ledger',
        method: 'echo',
        inFlight: 2,
        bodyBytes: 1_000,
        prefix: `${client.name}-echo-`,
      });
    }
    for (const client of clients) await client.reached(`${client.name}-echo-`, 50);
    const before = {
      links: await linksOf(agents[replaced]),
      counters: await agents[replaced].counters(),
      fds: engineFds(agents[replaced].pid),
      events: [...clients, ...servers].map((app) => app.events.length),
    };

    for (let i = 0; i < upgrades; i++) {
      agents[replaced] = await mesh.upgrade(agents[replaced]);
      for (const client of clients) {
        const prefix = `${client.name}-record-`;
        const { ok } = await client.loadSoFar(prefix);
        await client.reached(prefix, ok + 100);
      }
    }

    expect(await linksOf(agents[replaced])).toEqual(before.links);
    const counters = await agents[replaced].counters();
    expect(counters['links_opened']).toBe(before.counters['links_opened']);
    expect(counters['links_closed']).toBe(before.counters['links_closed']);
    expect(counters['requests']).toBeGreaterThan(before.counters['requests'] as number);
    expect([...clients, ...servers].map((app) => app.events.length)).toEqual(before.events);
    for (const client of clients) {
      const record = await client.endLoad(`${client.name}-record-`);
      const echo = await client.endLoad(`${client.name}-echo-`);
      expect(failuresOf(record)).toEqual({});
      expect(failuresOf(echo)).toEqual({});
      expect(echo.wrong).toBe(0);
      const prefix = `${client.name}-record-`;
      const ran = servers.map((server) => ({
        ran: () => server.ran().filter((id) => id.startsWith(prefix)),
      }));
      expectTruth(record, ran);
    }
    await agents.near.quiet();
    await agents.far.quiet();
    await until('the same descriptors as before', () => {
      const now = engineFds(agents[replaced].pid);
      return now.length === before.fds.length && now.every((file, i) => file === before.fds[i]);
    });
    expect(mesh.registered()).toHaveLength(servers.length);
  } finally {
    await mesh.close();
  }
});

it('says why where there is no agent to take over from, and where it would listen elsewhere', async () => {
  const mesh = new Mesh();
  try {
    const agent = await mesh.agent('agent', config);
    const elsewhere = mesh.launch('elsewhere', config);
    await elsewhere.ready();
    expect(await elsewhere.process.end()).toMatchObject({ code: 0 });
    const nobody = elsewhere.successor();
    expect(await nobody.process.over()).toMatchObject({ code: 1 });
    expect(nobody.process.stderr).toContain('no agent to take over from');

    const differs = AgentProcess.launch(mesh.directory, 'differs', {
      ...config,
      takeover: { path: join(mesh.directory, 'agent-takeover', 'agent.sock') },
    });
    await differs.ready();
    expect(await differs.process.end()).toMatchObject({ code: 0 });
    const refused = differs.successor();
    expect(await refused.process.over()).toMatchObject({ code: 1 });
    expect(refused.process.stderr).toContain('socket.path');
    await agent.logged('the failure', ({ msg }) => msg.startsWith('the handoff failed'));
    expect(await agent.readiness()).toMatchObject({ ok: true });
  } finally {
    await mesh.close();
  }
});
