// Streamed bodies through a (fake) agent that passes them on piece by piece, on each transport: sockets, where pieces are
// gathered into one write, and rings, which take one at a time and may be full.
import { randomFillSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, Server } from '../../src/index.js';
import { FrameType } from '../../src/protocol/frame.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';
import { fakeAddon } from '../support/fake-app-link.js';

vi.mock('../../src/native/app-link.js', async () => {
  const { fakeOpenAppLink, fakeRequireAppLinks } = await import('../support/fake-app-link.js');
  return { openAppLink: fakeOpenAppLink, requireAppLinks: fakeRequireAppLinks };
});

let agent: FakeAgent;
const closing: (Client | Server)[] = [];

beforeEach(async () => {
  fakeAddon.missing = undefined;
  fakeAddon.takesAtMost = Infinity;
  agent = await FakeAgent.start({ unix: true, tcp: true, rings: true });
});

afterEach(async () => {
  fakeAddon.takesAtMost = Infinity;
  await Promise.all(closing.splice(0).map((one) => one.close()));
  await agent.stop();
});

async function pair(
  transport: 'shm' | 'unix' | 'tcp',
  more: Pick<ConnectOptions, 'maxOutboundBytes' | 'maxStreams'> = {},
): Promise<Client> {
  const options: ConnectOptions = {
    agent: { socket: agent.path, tcp: agent.tcp },
    transport,
    backoffMs: { min: 5, max: 20 },
    drainTimeoutMs: 2000,
    timeoutMs: 20_000,
    log: () => undefined,
    ...more,
  };
  const server = await serve({ ...options, service: 's', methods: { echo: (request) => request.body } });
  const client = await connect(options);
  closing.push(client, server);
  expect([client.transport, server.transport]).toEqual([transport, transport]);
  return client;
}

const noise = (bytes: number): Buffer => randomFillSync(Buffer.allocUnsafe(bytes));

describe.each(['shm', 'unix', 'tcp'] as const)('on %s', (transport) => {
  test.each([0, 65_536, 65_537, 262_145, 5_000_000])(
    '%d bytes go there and come back whole',
    async (bytes) => {
      const client = await pair(transport);
      const body = noise(bytes);
      const reply = await client.call('s', 'echo', body);
      expect(reply.body.equals(body)).toBe(true);
    },
  );

  test('large and small ones at once', async () => {
    fakeAddon.takesAtMost = 150_000;
    const client = await pair(transport, { maxStreams: 3 });
    const bodies = Array.from({ length: 40 }, (_, i) => noise(i % 4 === 0 ? 200_000 + i * 20_000 : i * 100));
    const replies = await Promise.all(bodies.map((body) => client.call('s', 'echo', body)));
    expect(replies.every(({ body }, i) => body.equals(bodies[i]!))).toBe(true);
  });

  test('bytes that wait on the link stay under a small maxOutboundBytes, and large bodies pass all the same', async () => {
    fakeAddon.takesAtMost = 1;
    const client = await pair(transport, { maxOutboundBytes: 70_000 });
    const body = noise(1_000_000);
    expect((await client.call('s', 'echo', body)).body.equals(body)).toBe(true);
  });

  test('aborted in the middle: the other side is told through the agent, and lets go', async () => {
    const client = await pair(transport);
    const controller = new AbortController();
    const call = client.call('s', 'echo', noise(60_000_000), { signal: controller.signal });
    const to = agent.publications[0]!.link;
    const from = agent.links.find((link) => link !== to)!;
    await agent.waitFor(() => from.of(FrameType.chunk).length > 10);
    controller.abort();
    await expect(call).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: false });
    expect((await client.call('s', 'echo', 'after')).body.toString()).toBe('after');
    expect((closing[1] as Server).runningRequests).toBe(0);
  });
});
