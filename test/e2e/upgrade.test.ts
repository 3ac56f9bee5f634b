// A new process takes over from a running agent under load. Nobody notices: no call fails, none runs twice, no link ends or is made
// anew; and what is counted goes on where it was.
import { expect, it } from 'vitest';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { fdCount } from '../support/proc-facts.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const config: AgentConfig = { registry: { leaseMs: 2_000, sweepMs: 200 }, log: { level: 'info' } };
const upgrades = 4;

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
      fds: fdCount(agents[replaced].pid),
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
    await until('as many descriptors as before', () => fdCount(agents[replaced].pid) === before.fds);
    expect(mesh.registered()).toHaveLength(servers.length);
  } finally {
    await mesh.close();
  }
});
