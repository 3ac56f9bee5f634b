// The way from an app to its agent: which transport is taken and why, falling and climbing back, restarts of the
// agent, go-away, and an agent that sends nonsense. Real sockets, a fake agent, a fake addon.
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, Server } from '../../src/index.js';
import { FrameType, encodeFrame } from '../../src/protocol/frame.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';
import { fakeAddon } from '../support/fake-app-link.js';

vi.mock('../../src/native/app-link.js', async () => {
  const { fakeOpenAppLink, fakeRequireAppLinks } = await import('../support/fake-app-link.js');
  return { openAppLink: fakeOpenAppLink, requireAppLinks: fakeRequireAppLinks };
});

const backoffMs = { min: 5, max: 20 };
let agent: FakeAgent;
const closing: (Client | Server)[] = [];
let lines: string[] = [];

beforeEach(async () => {
  fakeAddon.missing = undefined;
  fakeAddon.takesAtMost = Infinity;
  lines = [];
  agent = await FakeAgent.start({ unix: true, tcp: true, rings: true });
  agent.onRequest = (link, request) => link.reply(request, { body: request.body });
});

afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
  await agent.stop();
});

function options(more: ConnectOptions = {}): ConnectOptions {
  return {
    app: 'shop',
    agent: { socket: agent.path, tcp: agent.tcp },
    backoffMs,
    drainTimeoutMs: 2000,
    log: (level, message) => lines.push(`${level} ${message}`),
    ...more,
  };
}

async function open(more: ConnectOptions = {}): Promise<Client> {
  const client = await connect(options(more));
  closing.push(client);
  return client;
}

function transportIs(client: Client | Server, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (client.transport === wanted) resolve();
      else client.once('transport', look);
    };
    look();
  });
}

describe('choosing', () => {
  test('shared memory, where agent and addon can', async () => {
    const client = await open({ token: 'secret', ringBytes: 262144 });
    expect(client.transport).toBe('shm');
    expect((await client.call('s', 'm', 'hi')).body.toString()).toBe('hi');
    const { hello, header } = agent.links[0]!;
    expect(hello).toMatchObject({ type: FrameType.hello, value: 262144, flags: 4 });
    expect(hello!.body.toString()).toBe('secret');
    expect(header!.sourceApp).toBe('shop');
    expect(header!.attachments!['sdk']).toMatch(/^ringside-node\/\d/);
    expect(lines).toEqual(['info transport shm: connected']);
  });

  test('frames on the unix socket, where the addon is missing: one line says why', async () => {
    fakeAddon.missing = 'not built';
    const client = await open();
    expect(client.transport).toBe('unix');
    expect(lines).toEqual(['warn transport unix: shm: the native addon is missing: not built']);
    expect(agent.links[0]!.hello!.value).toBe(0);
  });

  test('the line is said once, however often links are opened, and by how many clients', async () => {
    fakeAddon.missing = 'not built';
    const log = (level: string, message: string): number => lines.push(`${level} ${message}`);
    const client = await open({ log });
    await open({ log });
    expect(lines).toEqual([
      'warn transport unix: shm: the native addon is missing: not built',
      'info transport unix: connected',
    ]);
    const lost = transportIs(client, 'none');
    agent.links[0]!.socket.destroy();
    await lost;
    await transportIs(client, 'unix');
    expect(lines.filter((line) => line.includes('not built'))).toHaveLength(1);
  });

  test('frames on the unix socket, where the agent gives no ring', async () => {
    agent.rings = false;
    const client = await open();
    expect(client.transport).toBe('unix');
    expect(lines).toEqual(['warn transport unix: shm: the agent gives no ring: rings are off']);
  });

  test('TCP, where there is no socket', async () => {
    const client = await open({ agent: { socket: `${agent.path}.absent`, tcp: agent.tcp } });
    expect(client.transport).toBe('tcp');
    expect((await client.call('s', 'm', 'hi')).body.toString()).toBe('hi');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^warn transport tcp: shm: .*ENOENT.*; unix: .*ENOENT/);
  });

  test('only what was asked for', async () => {
    for (const transport of ['shm', 'unix', 'tcp'] as const) {
      expect((await open({ transport })).transport).toBe(transport);
    }
    fakeAddon.missing = 'not built';
    await expect(connect(options({ transport: 'shm' }))).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
      message: 'no agent can be reached: shm: the native addon is missing: not built',
    });
  });

  test('a log function that throws stops nothing', async () => {
    fakeAddon.missing = 'not built';
    const log = (): never => {
      throw new Error('log is full');
    };
    const client = await open({ log });
    expect(client.transport).toBe('unix');
    expect((await client.call('s', 'm', 'hi')).body.toString()).toBe('hi');
    expect(agent.links).toHaveLength(1);
  });

  test('the environment names agent, transport, token and app', async () => {
    const env = {
      RINGSIDE_AGENT: `unix:${agent.path}`,
      RINGSIDE_AGENT_TCP: agent.tcp,
      RINGSIDE_TRANSPORT: 'tcp',
      RINGSIDE_TOKEN: 'from-env',
      RINGSIDE_APP: 'env-app',
    };
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const client = await connect({ log: () => undefined });
    vi.unstubAllEnvs();
    closing.push(client);
    expect(client.transport).toBe('tcp');
    expect(agent.links[0]!.hello!.body.toString()).toBe('from-env');
    expect(agent.links[0]!.header!.sourceApp).toBe('env-app');
  });
});

describe('no agent', () => {
  test('connect names what was tried and why', async () => {
    agent.refuse = { status: 7, text: 'uid 12 may not' };
    await expect(connect(options())).rejects.toThrow(
      /^no agent can be reached: shm: refused by the agent: uid 12 may not; unix: refused .*; tcp: refused/,
    );
    await agent.waitFor(() => agent.openLinks.length === 0);
  });

  test('a lazy client fails calls at once, with proof, and works once the agent is there', async () => {
    agent.refuse = { status: 14, text: 'starting' };
    const client = await open({ lazy: true });
    expect(client.transport).toBe('none');
    await expect(client.call('s', 'm', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    await expect(client.send('s', 'm', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    agent.refuse = undefined;
    await transportIs(client, 'shm');
    expect((await client.call('s', 'm', 'hi')).body.toString()).toBe('hi');
  });

  test('an agent that never says welcome is given up', async () => {
    agent.insteadOfWelcome = Buffer.alloc(0);
    await expect(connect(options({ connectTimeoutMs: 20, transport: 'unix' }))).rejects.toThrow(
      'no welcome within 20 ms',
    );
  });
});

describe('changing', () => {
  test('climbs back to shared memory; calls in flight finish on the old link, which then closes', async () => {
    agent.rings = false;
    const client = await open();
    const held: (() => void)[] = [];
    agent.onRequest = (link, request) => void held.push(() => link.reply(request, { body: request.body }));
    const before = client.call('s', 'm', 'before');
    await agent.waitFor(() => held.length === 1);
    const old = agent.openLinks.find((link) => link.frames.length > 0)!;
    agent.rings = true;
    await transportIs(client, 'shm');
    const after = client.call('s', 'm', 'after');
    await agent.waitFor(() => held.length === 2);
    expect(old.of(FrameType.request)).toHaveLength(1);
    expect(old.closed).toBe(false);
    held.forEach((answer) => answer());
    expect((await before).body.toString()).toBe('before');
    expect((await after).body.toString()).toBe('after');
    await agent.waitFor(() => old.closed);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(/^info transport shm: /);
  });

  test('a lost link fails what is in flight with doubt, and the client comes back by itself', async () => {
    const client = await open();
    agent.onRequest = (link) => link.socket.destroy();
    const none = once(client, 'transport');
    await expect(client.call('s', 'm', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: true,
      retryable: true,
    });
    expect(await none).toEqual(['none']);
    await transportIs(client, 'shm');
    agent.onRequest = (link, request) => link.reply(request, {});
    await client.call('s', 'm', '');
    expect(lines.map((line) => line.split(':')[0])).toEqual([
      'info transport shm',
      'warn transport none',
      'info transport shm',
    ]);
  });

  test('a server publishes again after a restart of the agent', async () => {
    agent.onRequest = (link, request, header) => agent.route(link, request, header);
    const server = await serve({ ...options(), service: 'users', methods: { get: () => 'Ada' } });
    closing.push(server);
    expect(agent.publications).toHaveLength(1);
    const { path } = agent;
    await agent.crash();
    agent = await FakeAgent.start({ unix: true, tcp: true, rings: true, path });
    await agent.waitFor(() => agent.publications.length === 1);
    expect(JSON.parse(agent.publications[0]!.body)).toEqual({ service: 'users' });
    const client = await connect(options({ agent: path }));
    closing.push(client);
    expect((await client.call('users', 'get', '')).body.toString()).toBe('Ada');
  });

  test('a server that changes links is published on the new one before it leaves the old one', async () => {
    agent.rings = false;
    const server = await serve({ ...options(), service: 'users', methods: () => 'x' });
    closing.push(server);
    const published: number[] = [];
    agent.rings = true;
    await agent.waitFor(() => {
      published.push(agent.publications.length);
      return agent.calls.includes('unpublish users');
    });
    expect(agent.calls).toEqual(['publish users', 'publish users', 'unpublish users']);
    expect(Math.min(...published)).toBe(1);
    expect(agent.publications).toHaveLength(1);
  });
});

describe('go-away', () => {
  test('moves new calls to a new link, says so behind the last old one, and fails none', async () => {
    const client = await open();
    const held: (() => void)[] = [];
    agent.onRequest = (link, request) => void held.push(() => link.reply(request, { body: request.body }));
    const before = client.call('s', 'm', 'before');
    const old = await agent.waitFor(() =>
      agent.links.find((link) => link.of(FrameType.request).length === 1),
    );
    old.send({ type: FrameType.goAway, idLo: 77, idHi: 1, header: encodeHeader({}) });
    await agent.waitFor(() => old.of(FrameType.goAwayAck).length === 1);
    expect(old.of(FrameType.goAwayAck)[0]).toMatchObject({ idLo: 77, idHi: 1 });
    const after = client.call('s', 'm', 'after');
    await agent.waitFor(() => held.length === 2);
    held.forEach((answer) => answer());
    expect((await before).body.toString()).toBe('before');
    expect((await after).body.toString()).toBe('after');
    await agent.waitFor(() => old.closed);
    const behindAck = old.frames.slice(
      old.frames.findIndex((frame) => frame.type === FrameType.goAwayAck) + 1,
    );
    expect(behindAck.filter((frame) => frame.type === FrameType.request)).toEqual([]);
    expect(client.transport).toBe('shm');
  });

  test('with nowhere to go it is acknowledged, and calls fail with proof', async () => {
    const client = await open();
    agent.refuse = { status: 14, text: 'stopping' };
    const link = agent.openLinks[0]!;
    link.send({ type: FrameType.goAway, idLo: 1 });
    await transportIs(client, 'none');
    await agent.waitFor(() => link.of(FrameType.goAwayAck).length === 1);
    await expect(client.call('s', 'm', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
  });
});

describe('an agent that sends nonsense', () => {
  const nonsense: [string, Buffer][] = [
    ['garbage', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'.padEnd(40))],
    ['a hello', encodeFrame({ type: FrameType.hello })],
    ['a second welcome', encodeFrame({ type: FrameType.welcome })],
    ['65 go-aways', Buffer.concat(Array.from({ length: 65 }, () => encodeFrame({ type: FrameType.goAway })))],
  ];

  test.each(nonsense)('%s ends that link, and the client opens another', async (_name, bytes) => {
    const client = await open({ transport: 'unix' });
    const pending = client.call('s', 'wait', '');
    agent.onRequest = (link) => link.socket.write(bytes);
    await expect(pending).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: true });
    await transportIs(client, 'unix');
    agent.onRequest = (link, request) => link.reply(request, { body: request.body });
    expect((await client.call('s', 'm', 'well')).body.toString()).toBe('well');
  });

  test('as its first frame, is a reason to climb on', async () => {
    agent.insteadOfWelcome = encodeFrame({ type: FrameType.ping });
    await expect(connect(options({ transport: 'unix' }))).rejects.toThrow('the first frame is not welcome');
    agent.insteadOfWelcome = encodeFrame({ type: FrameType.welcome, header: Buffer.from([0x08, 1]) });
    await expect(connect(options({ transport: 'tcp' }))).rejects.toThrow('field 1 has wire type 0');
  });

  test('invented and late ids, chunks and credits are ignored', async () => {
    const client = await open();
    agent.onRequest = (link, request) => {
      const { idLo, idHi } = request;
      for (const type of [
        FrameType.cancel,
        FrameType.chunk,
        FrameType.credit,
        FrameType.pong,
        FrameType.goAwayAck,
      ]) {
        link.send({ type, idLo, idHi });
      }
      link.send({ type: FrameType.response, idLo: idLo + 0x10000, idHi, body: Buffer.from('wrong') });
      link.send({ type: FrameType.response, idLo, idHi: idHi + 1, body: Buffer.from('wrong') });
      link.reply(request, { body: Buffer.from('right') });
      link.reply(request, { body: Buffer.from('twice') });
    };
    expect((await client.call('s', 'm', '')).body.toString()).toBe('right');
    expect((await client.call('s', 'm', '')).body.toString()).toBe('right');
  });

  test('a malformed header in a reply fails that call only', async () => {
    const client = await open();
    agent.onRequest = (link, request) => link.reply(request, { header: Buffer.from([0x0a, 9]) });
    await expect(client.call('s', 'm', '')).rejects.toMatchObject({ status: 'INTERNAL', mayHaveRun: true });
    agent.onRequest = (link, request) =>
      link.reply(request, { header: encodeHeader({ attachments: { a: 'b' } }) });
    expect((await client.call('s', 'm', '')).attachments).toEqual({ a: 'b' });
    expect(agent.links).toHaveLength(1);
  });
});

describe('keep-alive', () => {
  test('pings are answered', async () => {
    await open();
    const link = agent.openLinks[0]!;
    link.send({ type: FrameType.ping, idLo: 5, idHi: 6 });
    const pong = await agent.waitFor(() => link.of(FrameType.pong)[0]);
    expect(pong).toMatchObject({ idLo: 5, idHi: 6 });
  });

  test('a silent TCP link is dropped after three unanswered pings', async () => {
    agent.answersPings = false;
    await open({ transport: 'tcp', keepAliveMs: 10 });
    const link = agent.links[0]!;
    await agent.waitFor(() => link.closed);
    expect(link.of(FrameType.ping)).toHaveLength(3);
    expect(lines[1]).toBe('warn transport none: the link is lost: 3 pings were not answered');
  });
});
