// Egress fallback on real processes: an application whose agent was killed goes on calling through another agent of the same app, and
// comes back when its own is there again. No agent is a relay for who does not know the token.
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { until } from '../support/until.js';

const mesh = new Mesh();
const token = 'shared-by-the-app';
const settings = {
  app: 'cron',
  loopback: { token },
  egressFallback: { enabled: true, host: '127.0.0.1', port: 0 },
};
let own: AgentProcess;
let other: AgentProcess;
let servers: AgentProcess;
let client: AppProcess;

interface List {
  token: string;
  agents: string[];
}
const listFile = (agent: AgentProcess): string => `${agent.socket}.fallback`;
const listOf = (agent: AgentProcess): List => JSON.parse(readFileSync(listFile(agent), 'utf8')) as List;
/** Applications that use an agent over TCP now. */
const takenIn = async (agent: AgentProcess): Promise<number> =>
  (await agent.links()).filter(({ role, kind }) => role === 'app' && kind === 'tcp').length;

async function fallbackPort(agent: AgentProcess): Promise<number> {
  const line = await agent.logged('its ports', ({ fallback }) => fallback !== undefined);
  return line['fallback'] as number;
}

beforeAll(async () => {
  [own, other, servers] = await Promise.all([
    mesh.agent('own', settings),
    mesh.agent('other', settings),
    mesh.agent('servers', { app: 'shop' }),
  ]);
  await mesh.server('server', servers, { service: 'ledger' });
  client = await mesh.app('client');
  // Where it looks without being told of TCP: its agent's socket, and the list beside it.
  await client.connect({ agent: { socket: own.socket }, backoffMs: { min: 50, max: 200 } });
  await mesh.reachable(client, 'ledger');
});
afterAll(() => mesh.close());

describe('the list beside the socket', () => {
  it('names the other agents of the app and nobody else, and only the owner reads it', async () => {
    const expected = [`127.0.0.1:${await fallbackPort(other)}`];
    await until('the list to be complete', () => listOf(own).agents.length === 1);
    expect(listOf(own)).toEqual({ token, agents: expected });
    expect(statSync(listFile(own)).mode & 0o777).toBe(0o600);
    expect(() => statSync(listFile(servers))).toThrow('ENOENT');
  });
});

describe('another agent', () => {
  it.each(['', 'wrong', `${token}x`, token.slice(1)])('refuses the token %j', async (wrong) => {
    const stranger = await mesh.app(`stranger-${wrong.length}`);
    const agent = `tcp://127.0.0.1:${await fallbackPort(other)}`;
    await expect(
      stranger.connect({ agent, transport: 'tcp', ...(wrong === '' ? {} : { token: wrong }) }),
    ).rejects.toThrow('the loopback port asks for a token');
    expect(await takenIn(other)).toBe(0);
  });

  it('stands in while the own one is dead, under load, and gives the calls back', async () => {
    expect(await client.transport()).toBe('shm');
    await client.startLoad({
      service: 'ledger',
      method: 'echo',
      inFlight: 8,
      prefix: 'load',
      failurePauseMs: 5,
    });
    await client.reached('load', 100);

    await own.kill();
    await client.event('transport', { transport: 'fallback' });
    expect(await takenIn(other)).toBe(1);
    const failedAtFirst = (await client.loadSoFar('load')).failures.length;
    await client.reached('load', (await client.loadSoFar('load')).ok + 200);
    const without = await client.loadSoFar('load');
    expect(without.failures.length).toBe(failedAtFirst);
    for (const { status } of without.failures) expect(status).toBe('UNAVAILABLE');

    own = await mesh.agent('own', settings);
    await client.event('transport', { transport: 'shm' });
    await client.reached('load', (await client.loadSoFar('load')).ok + 200);
    await until('the other agent to be left', async () => (await takenIn(other)) === 0);
    const { failures, wrong } = await client.endLoad('load');
    expect({ failures: failures.length, wrong }).toEqual({ failures: failedAtFirst, wrong: 0 });
  });

  it('is not for who serves: an agent that allows it publishes nothing', async () => {
    const server = await mesh.app('would-serve');
    await expect(
      server.serve({ agent: { socket: own.socket }, service: 'nightly', transport: 'auto' }),
    ).rejects.toThrow('egressFallback.force');
    expect(await takenIn(other)).toBe(0);
  });

  it('leaves the lists of others when it stops', async () => {
    const address = `127.0.0.1:${await fallbackPort(other)}`;
    expect(listOf(own).agents).toContain(address);
    expect((await other.process.end()).code).toBe(0);
    await until('it to be gone', () => !listOf(own).agents.includes(address));
  });
});
