// An agent drains while requests that its applications accepted still need it: what they ask of others goes on, whoever is told to end
// first, until they have closed or `timeouts.drainMs` is over.
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldClient } from '../support/old-client.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

/** Longer than any test here: an agent that ends did not wait for it. */
const longDrain = { timeouts: { drainMs: 300_000 } };
const bodies = ['a', 'b', 'c', 'd', 'e'];

let mesh: Mesh;
let near: AgentProcess;
let draining: AgentProcess;
beforeEach(async () => {
  mesh = new Mesh();
  [near, draining] = await Promise.all([mesh.agent('near'), mesh.agent('draining', longDrain)]);
});
afterEach(() => mesh.close());

const over = { code: 0, signal: null };
const socketGone = (): Promise<unknown> => until('the socket to be gone', () => !existsSync(draining.socket));

/** Requests that the front has accepted, and whose handlers call the back when they are let go. */
async function acceptedRequests(
  agentOfBack: AgentProcess,
): Promise<{ front: AppProcess; answers: Promise<string[]> }> {
  const [front, , client] = await Promise.all([
    mesh.server('front', draining, { service: 'front' }),
    mesh.server('back', agentOfBack, { service: 'back' }),
    mesh.client('client', near),
  ]);
  await mesh.reachable(client, 'front');
  const attachments = { next: 'back' };
  const calls = bodies.map((body) =>
    client.call('front', 'held-relay', body, { timeoutMs: 20_000, attachments }),
  );
  const answers = Promise.all(calls).then((replies) => replies.map(({ body }) => body.toString()));
  answers.catch(() => undefined); // awaited later
  await Promise.all(bodies.map((body) => front.event('held', { body })));
  return { front, answers };
}

describe('an accepted request whose handler calls another service', () => {
  describe.each(['another agent', 'the same agent'] as const)('behind %s', (where) => {
    const agentOfBack = (): AgentProcess => (where === 'the same agent' ? draining : near);

    it('ends well when the agent is told to end; the agent ends when its applications have', async () => {
      const { front, answers } = await acceptedRequests(agentOfBack());
      const agentEnds = draining.process.end();
      await socketGone();
      await draining.logged('inbound has left', ({ msg }) => msg.includes('no new requests come'));
      await front.letGo();
      expect(await answers).toEqual(bodies.map(() => 'front asked back'));
      expect(draining.process.ending).toBeUndefined();
      await Promise.all(mesh.apps.map((app) => app.process.end()));
      expect(await agentEnds).toEqual(over);
    });

    it('ends well when agent and application are told to end at once', async () => {
      const { front, answers } = await acceptedRequests(agentOfBack());
      const agentEnds = draining.process.end();
      const frontEnds = front.process.end();
      await socketGone();
      await draining.logged('inbound has left', ({ msg }) => msg.includes('no new requests come'));
      await front.letGo();
      expect(await answers).toEqual(bodies.map(() => 'front asked back'));
      expect(await frontEnds).toEqual(over);
      await Promise.all(mesh.apps.map((app) => app.process.end()));
      expect(await agentEnds).toEqual(over);
    });

    it('ends well when the application is told to end first', async () => {
      const { front, answers } = await acceptedRequests(agentOfBack());
      const frontEnds = front.process.end();
      await until('the front to be published no more', () => mesh.registered().length === 1);
      await front.letGo();
      expect(await answers).toEqual(bodies.map(() => 'front asked back'));
      expect(await frontEnds).toEqual(over);
    });
  });
});

describe('an application that is linked to a draining agent', () => {
  const load = { service: 'back', method: 'who', inFlight: 4, prefix: 'calls-' };

  it('goes on calling until it closes, and then the agent ends', async () => {
    await mesh.server('back', near, { service: 'back' });
    const client = await mesh.client('client', draining);
    await mesh.reachable(client, 'back');
    await client.startLoad(load);
    const agentEnds = draining.process.end();
    await draining.logged('inbound has left', ({ msg }) => msg.includes('no new requests come'));
    const { ok } = await client.loadSoFar('calls-');
    await client.reached('calls-', ok + 500);
    // A service that it asks for the first time, too.
    await mesh.server('late', near, { service: 'late' });
    await mesh.reachable(client, 'late');
    expect(failuresOf(await client.endLoad('calls-'))).toEqual({});
    expect(draining.process.ending).toBeUndefined();
    await client.closeClient();
    expect(await agentEnds).toEqual(over);
  });

  it('goes on over an old connection, too', async () => {
    await mesh.server('back', near, { service: 'back' });
    const client = await mesh.client('client', draining);
    await mesh.reachable(client, 'back');
    const old = await OldClient.start(draining.loopback);
    expect(await old.call('back', 'echo', [1])).toMatchObject({ ec: 200, result: [1] });
    const agentEnds = draining.process.end();
    await draining.logged('inbound has left', ({ msg }) => msg.includes('no new requests come'));
    await client.closeClient();
    expect(await old.call('back', 'echo', [2])).toMatchObject({ ec: 200, result: [2] });
    await old.end();
    expect(await agentEnds).toEqual(over);
  });

  it('loses nothing that may have run when timeouts.drainMs is over before it has closed', async () => {
    const brief = await mesh.agent('brief', { timeouts: { drainMs: 1_000 } });
    await mesh.server('back', near, { service: 'back' });
    const client = await mesh.client('client', brief);
    await mesh.reachable(client, 'back');
    await client.startLoad(load);
    expect(await brief.process.end()).toEqual(over);
    const { ok, failures } = await client.endLoad('calls-');
    expect(ok).toBeGreaterThan(0);
    expect(failures.filter(({ status, mayHaveRun }) => status !== 'UNAVAILABLE' || mayHaveRun)).toEqual([]);
  });

  it('publishes nothing through it any more, and what it had published stands in no registry', async () => {
    const server = await mesh.server('back', draining, { service: 'back' });
    const agentEnds = draining.process.end();
    await draining.logged('inbound has left', ({ msg }) => msg.includes('no new requests come'));
    expect(mesh.registered()).toEqual([]);
    await expect(
      server.call('ringside.agent', 'publish', JSON.stringify({ service: 'more' })),
    ).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      message: expect.stringContaining('draining') as string,
    });
    expect(mesh.registered()).toEqual([]);
    await server.process.end();
    expect(await agentEnds).toEqual(over);
  });
});
