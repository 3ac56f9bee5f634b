// A call's end is counted once and alike on every hop: what its caller was told stands in the metrics of its own agent, in those of the
// server's, and the handler is told the same. Deadlines first of all, since what judges a new version by its failures would else pass a slow one.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countRequests } from '../../src/ops/agent-health.js';
import type { AgentProcess } from '../support/agent-process.js';
import { transports } from '../support/app-process.js';
import type { AppProcess, CallFailure, TestTransport } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldClient } from '../support/old-client.js';
import { OldServer } from '../support/old-server.js';
import { until } from '../support/until.js';

const mesh = new Mesh();
const awkward = fileURLToPath(new URL('../support/filters/awkward.mjs', import.meta.url));
const callsEach = 5;
let near: AgentProcess;
let far: AgentProcess;
let old: OldServer;
const clients = new Map<TestTransport, AppProcess>();
const servers = new Map<string, AppProcess>();

async function metrics(agent: AgentProcess): Promise<string> {
  return (await fetch(new URL('/metrics', agent.adminUrl), { headers: { connection: 'close' } })).text();
}

/** Requests of a service by status, as an agent counts them. */
async function counted(agent: AgentProcess, service: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [, labels = '', value] of (await metrics(agent)).matchAll(
    /^ringside_requests_total\{(.*)\} (\d+)/gm,
  )) {
    if (!labels.includes(`service="${service}"`) || value === '0') continue;
    counts[/status="([A-Z_]+)"/.exec(labels)![1]!] = Number(value);
  }
  return counts;
}

/** What both agents have counted of a service beyond `before`, once they agree on how much that is. */
async function grown(
  service: string,
  before: Record<string, number>[],
  requests: number,
): Promise<Record<string, number>[]> {
  const now = await until(`both agents to have counted ${requests} requests`, async () => {
    const counts = await Promise.all([counted(near, service), counted(far, service)]);
    const sum = (count: Record<string, number>): number => Object.values(count).reduce((a, b) => a + b, 0);
    return counts.every((count, i) => sum(count) - sum(before[i]!) >= requests) ? counts : undefined;
  });
  return now.map((counts, i) =>
    Object.fromEntries(
      Object.entries(counts)
        .map(([status, count]): [string, number] => [status, count - (before[i]![status] ?? 0)])
        .filter(([, count]) => count > 0),
    ),
  );
}

beforeAll(async () => {
  old = await OldServer.start(({ params: { m } }) =>
    m === 'never' ? new Promise(() => undefined) : { ec: 200, em: '', result: 'old' },
  );
  [near, far] = await Promise.all([
    mesh.agent('near', {
      filters: [{ module: awkward, services: ['filtered'] }],
      timeouts: { defaultMs: 100 },
    }),
    mesh.agent('far', { publish: [{ service: 'old', protocol: 'legacy', address: old.address }] }),
  ]);
  for (const transport of transports) {
    clients.set(transport, await mesh.client(`client-${transport}`, near, transport));
    servers.set(transport, await mesh.server(`server-${transport}`, far, { service: transport }, transport));
    await mesh.reachable(clients.get(transport)!, transport);
  }
  servers.set('filtered', await mesh.server('server-filtered', far, { service: 'filtered' }));
  await mesh.reachable(clients.get('shm')!, 'filtered');
  await until('the old server to be reached', () =>
    clients
      .get('shm')!
      .call('old', 'who', '[]')
      .then(
        () => true,
        () => false,
      ),
  );
});
afterAll(async () => {
  await mesh.close();
  await old.close();
});

describe.each(transports)('over %s, what a caller is told is what is counted:', (transport) => {
  const before = (): Promise<Record<string, number>[]> =>
    Promise.all([counted(near, transport), counted(far, transport)]);

  it('a deadline that passed', async () => {
    const client = clients.get(transport)!;
    const [earlier, failed] = [await before(), (await deadlinesLogged()).map((lines) => lines.length)];
    const failures = await Promise.all(
      Array.from({ length: callsEach }, () =>
        client.call(transport, 'never', 'deadline', { timeoutMs: 50 }).catch((error: CallFailure) => error),
      ),
    );
    for (const failure of failures) expect(failure).toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    const expected = { DEADLINE_EXCEEDED: callsEach };
    expect(await grown(transport, earlier, callsEach)).toEqual([expected, expected]);
    await servers.get(transport)!.event('aborted', { body: 'deadline', reason: 'DEADLINE_EXCEEDED' });
    // Probation sees a slow server as one that fails, and the log names it on both sides.
    expect(countRequests(await metrics(far)).failed).toBeGreaterThanOrEqual(callsEach);
    await until('both logs to say so', async () =>
      (await deadlinesLogged()).every((lines, i) => lines.length >= failed[i]! + callsEach),
    );
  });

  it('a call that was given up', async () => {
    const client = clients.get(transport)!;
    const earlier = await before();
    const call = client.call(transport, 'never', 'given up', { timeoutMs: 60_000 }, { abortKey: 'gone' });
    await servers.get(transport)!.event('started', { body: 'given up' });
    await Promise.all([expect(call).rejects.toMatchObject({ status: 'CANCELLED' }), client.abort('gone')]);
    expect(await grown(transport, earlier, 1)).toEqual([{ CANCELLED: 1 }, { CANCELLED: 1 }]);
    await servers.get(transport)!.event('aborted', { body: 'given up', reason: 'CANCELLED' });
  });
});

async function deadlinesLogged(): Promise<object[][]> {
  return [near, far].map(({ log }) =>
    log.filter(({ msg, status }) => msg === 'failed request' && status === 'DEADLINE_EXCEEDED'),
  );
}

it('a deadline that passes while a filter decides is one, and nothing came to the server', async () => {
  const earlier = await counted(near, 'filtered');
  await expect(clients.get('shm')!.call('filtered', 'never', '', { timeoutMs: 50 })).rejects.toMatchObject({
    status: 'DEADLINE_EXCEEDED',
  });
  await until('it to be counted', async () => {
    const now = await counted(near, 'filtered');
    return (now['DEADLINE_EXCEEDED'] ?? 0) === (earlier['DEADLINE_EXCEEDED'] ?? 0) + 1;
  });
  expect((await counted(near, 'filtered'))['CANCELLED']).toBeUndefined();
});

describe('in the legacy protocol too:', () => {
  it('an old server that is slow', async () => {
    const earlier = await Promise.all([counted(near, 'old'), counted(far, 'old')]);
    await expect(clients.get('shm')!.call('old', 'never', '[]', { timeoutMs: 50 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
    });
    const expected = { DEADLINE_EXCEEDED: 1 };
    expect(await grown('old', earlier, 1)).toEqual([expected, expected]);
  });

  it('an old caller, for which its agent keeps the deadline', async () => {
    const earlier = await Promise.all([counted(near, 'shm'), counted(far, 'shm')]);
    const client = await OldClient.start(near.loopback);
    expect(await client.call('shm', 'never', [])).toMatchObject({ ec: 304 });
    await client.end();
    const expected = { DEADLINE_EXCEEDED: 1 };
    expect(await grown('shm', earlier, 1)).toEqual([expected, expected]);
  });
});
