// Mesh off: the same client and server over plain TCP, without an agent.
import { connect as connectSocket } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type { Client, ServeOptions, Server } from '../../src/index.js';
import { FrameType, encodeFrame } from '../../src/protocol/frame.js';
import type { Frame } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';

const closing: (Client | Server)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
});

const quiet = { log: () => undefined, backoffMs: { min: 5, max: 20 }, drainTimeoutMs: 2000 };

async function server(methods: ServeOptions['methods'], more: Partial<ServeOptions> = {}): Promise<Server> {
  const made = await serve({ mesh: false, ...quiet, service: 's', methods, ...more });
  closing.push(made);
  return made;
}

async function client(servers: readonly Server[], token?: string): Promise<Client> {
  const endpoints = { s: servers.map((one) => one.address!) };
  const made = await connect({ mesh: false, ...quiet, endpoints, ...(token === undefined ? {} : { token }) });
  closing.push(made);
  return made;
}

async function callText(caller: Client, method = 'who'): Promise<string> {
  return (await caller.call('s', method, '')).body.toString();
}

/** Resolves when the socket is closed, also by an error. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

describe('calls', () => {
  test('go round over the endpoints of a service', async () => {
    const servers = await Promise.all(['a', 'b', 'c'].map((name) => server({ who: () => name })));
    const caller = await client(servers);
    expect(caller.transport).toBe('tcp');
    const seen: string[] = [];
    for (let i = 0; i < 6; i += 1) seen.push(await callText(caller));
    expect(seen).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
  });

  test('made before the link is open wait for it', async () => {
    const caller = await client([await server({ echo: (request) => request.body })]);
    const replies = await Promise.all(['x', 'y', 'z'].map((text) => caller.call('s', 'echo', text)));
    expect(replies.map(({ body }) => body.toString())).toEqual(['x', 'y', 'z']);
  });

  test('made just before close are answered', async () => {
    const caller = await client([await server({ echo: (request) => request.body })]);
    const call = caller.call('s', 'echo', 'x');
    await caller.close();
    expect((await call).body.toString()).toBe('x');
  });

  test('of a service without endpoints fail with proof', async () => {
    const caller = await client([]);
    for (const service of ['s', 'nowhere']) {
      await expect(caller.call(service, 'm', '')).rejects.toMatchObject({
        status: 'UNAVAILABLE',
        message: `no endpoints are given for service ${service}: name them in the option endpoints or RINGSIDE_ENDPOINTS`,
        mayHaveRun: false,
      });
    }
  });

  test('avoid an endpoint that is down, and find it again', async () => {
    const stays = await server({ who: () => 'stays' });
    const leaves = await server({ who: () => 'leaves' });
    const listen = leaves.address!;
    const caller = await client([stays, leaves]);
    await leaves.close();
    const failures: unknown[] = [];
    for (let i = 0; i < 20; i += 1) {
      await callText(caller).then(
        (name) => expect(name).toBe('stays'),
        (error: unknown) => failures.push(error),
      );
    }
    for (const error of failures) expect(error).toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
    expect(failures.length).toBeLessThan(20);
    await server({ who: () => 'back' }, { listen });
    let name = '';
    while (name !== 'back') name = await callText(caller).catch(() => '');
  });

  test('take endpoints from the environment', async () => {
    const one = await server({ who: () => 'env' });
    vi.stubEnv('RINGSIDE_MESH', 'off');
    vi.stubEnv('RINGSIDE_ENDPOINTS', JSON.stringify({ s: [one.address] }));
    const caller = await connect(quiet);
    vi.unstubAllEnvs();
    closing.push(caller);
    expect(await callText(caller)).toBe('env');
  });
});

describe('closing a server', () => {
  test('fails no call of a caller that keeps calling: it moves to the other endpoint', async () => {
    const leaves = await server({ who: async () => 'leaves' });
    const stays = await server({ who: async () => 'stays' });
    const caller = await client([leaves, stays]);
    const seen = new Set<string>();
    let done = false;
    const calling = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (!done) seen.add(await callText(caller));
      }),
    );
    while (!seen.has('leaves') || !seen.has('stays')) await new Promise((resolve) => setImmediate(resolve));
    await leaves.close();
    seen.clear();
    while (!seen.has('stays')) await new Promise((resolve) => setImmediate(resolve));
    done = true;
    await calling;
    expect([...seen]).toEqual(['stays']);
  });
});

describe('a listener', () => {
  test('wants its token', async () => {
    const guarded = await server({ who: () => 'in' }, { token: 'right' });
    expect(await callText(await client([guarded], 'right'))).toBe('in');
    for (const token of ['wrong', undefined]) {
      const caller = await client([guarded], token);
      await expect(callText(caller)).rejects.toMatchObject({
        status: 'UNAVAILABLE',
        message: expect.stringContaining('a valid access token is needed') as string,
      });
    }
  });

  test.each<[string, Buffer]>([
    ['garbage', Buffer.alloc(64, 0x47)],
    ['a request before hello', encodeFrame({ type: FrameType.request })],
    [
      'a second hello',
      Buffer.concat([encodeFrame({ type: FrameType.hello }), encodeFrame({ type: FrameType.hello })]),
    ],
  ])('closes on %s and serves others', async (_name, bytes) => {
    const one = await server({ who: () => 'fine' });
    const [host, port] = one.address!.split(':');
    const socket = connectSocket(Number(port), host);
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(bytes);
    await closed(socket);
    expect(await callText(await client([one]))).toBe('fine');
  });

  test('closes a connection that says nothing', async () => {
    const one = await server({ who: () => 'fine' }, { connectTimeoutMs: 20 });
    const [host, port] = one.address!.split(':');
    const socket = connectSocket(Number(port), host);
    socket.resume();
    await closed(socket);
    expect(one.runningRequests).toBe(0);
  });

  test('that is in use is an error', async () => {
    const one = await server({ who: () => '' });
    await expect(server({ who: () => '' }, { listen: one.address! })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });

  test('a peer that sends requests and never reads is given up, with bounded memory', async () => {
    const one = await server({ echo: (request) => request.body }, { maxOutboundBytes: 256 * 1024 });
    const [host, port] = one.address!.split(':');
    const socket = connectSocket(Number(port), host);
    socket.on('error', () => undefined);
    socket.write(encodeFrame({ type: FrameType.hello }));
    const parser = new FrameParser();
    const welcome = await new Promise<Frame>((resolve) => {
      socket.once('data', (chunk: Buffer) => parser.push(chunk, resolve));
    });
    expect(welcome.type).toBe(FrameType.welcome);
    socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 2000 }, (_, i) => encodeFrame({ type: FrameType.ping, idLo: i })),
    );
    const gone = closed(socket);
    const feed = (): void => {
      if (!socket.destroyed) socket.write(pings, () => setImmediate(feed));
    };
    feed();
    await gone;
    expect(await callText(await client([one]), 'echo')).toBe('');
  });
});
