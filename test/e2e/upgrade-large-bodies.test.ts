// Upgrades while large bodies are half-way: 16 MiB to a server that reads slowly, then back to a client that does, so that credit is outstanding and
// pieces wait in every queue. Both agents are replaced several times during each body, on every transport; each byte arrives once, in its place.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { until } from '../support/until.js';

const bodyBytes = 16 * 2 ** 20;
const transports = ['shm', 'unix', 'tcp'] as const;
/** A slow reader stands still for so long between two turns of its loop. In each it gets at most the credit of a body, so that this one takes a minute. */
const drowseMs = 1_000;

let mesh: Mesh;
beforeEach(() => {
  mesh = new Mesh();
});
afterEach(() => mesh.close());

it(
  'bodies of 16 MiB go on through upgrades of both agents, to readers that are slow',
  { timeout: 240_000 },
  async () => {
    const config = { registry: { leaseMs: 5_000, sweepMs: 500 }, takeover: { deadlineMs: 60_000 } };
    const agents = { near: await mesh.agent('near', config), far: await mesh.agent('far', config) };
    const pairs: { transport: string; server: AppProcess; client: AppProcess }[] = [];
    for (const transport of transports) {
      const server = await mesh.server(`server-${transport}`, agents.far, { service: transport }, transport);
      const client = await mesh.client(`client-${transport}`, agents.near, transport);
      await mesh.reachable(client, transport);
      pairs.push({ transport, server, client });
    }
    let bodies = 0;
    /** Replaces both agents twice while all bodies are on their way to `readers`, which then make haste. */
    const upgradesMidway = async (readers: AppProcess[], over: () => Promise<unknown[]>): Promise<void> => {
      bodies += pairs.length;
      for (const agent of Object.values(agents)) {
        await until(
          'all bodies to be on their way',
          async () => (await agent.counters())['streams'] === bodies,
        );
      }
      for (const whose of ['near', 'far', 'far', 'near'] as const) {
        for (const agent of Object.values(agents)) {
          expect((await agent.limit('streamsPerLink')).used).toBeGreaterThan(0);
        }
        agents[whose] = await mesh.upgrade(agents[whose]);
      }
      expect(await over()).toEqual([]);
      for (const reader of readers) await reader.drowse(0);
    };

    const [servers, clients] = [pairs.map(({ server }) => server), pairs.map(({ client }) => client)];
    for (const server of servers) await server.drowse(drowseMs);
    for (const { transport, client } of pairs)
      await client.startExchange(transport, bodyBytes, { timeoutMs: 200_000 });
    await upgradesMidway(servers, () =>
      Promise.resolve(servers.filter((server) => server.count('summed') > 0)),
    );
    for (const server of servers) await server.event('summed');

    for (const client of clients) await client.drowse(drowseMs);
    for (const server of servers) await server.letGo();
    await upgradesMidway(clients, async () => {
      const exchanges = await Promise.all(pairs.map(({ transport, client }) => client.exchange(transport)));
      return exchanges.filter(({ cameBack, failed }) => cameBack !== undefined || failed !== undefined);
    });
    for (const { transport, client } of pairs) {
      const { sent, arrived, cameBack } = await until(`the reply over ${transport}`, async () => {
        const exchange = await client.exchange(transport);
        return exchange.cameBack === undefined && exchange.failed === undefined ? undefined : exchange;
      });
      expect([arrived, cameBack], transport).toEqual([sent, sent]);
    }
    await agents.near.quiet();
    await agents.far.quiet();
  },
);
