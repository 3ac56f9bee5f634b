// How an agent begins and ends, and whom it lets in: sockets and ports that are taken, signals, users, tokens, addresses.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Flag, FrameType } from '../../src/protocol/frame.js';
import { decodeHeader } from '../../src/protocol/header.js';
import { Status, statusName } from '../../src/base/status.js';
import type { AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RawLink } from '../support/raw-link.js';
import { until } from '../support/until.js';

let mesh: Mesh;
beforeEach(() => (mesh = new Mesh()));
afterEach(() => mesh.close());

describe('SIGTERM', () => {
  it.each(['near', 'far'] as const)(
    'to the %s agent: calls in flight finish, then it exits 0',
    async (which) => {
      const agents = { near: await mesh.agent('near'), far: await mesh.agent('far') };
      const server = await mesh.server('server', agents.far, { service: 'ledger' });
      const client = await mesh.client('client', agents.near);
      await mesh.reachable(client, 'ledger');
      const calls = ['a', 'b', 'c'].map((body) => client.call('ledger', 'held', body, { timeoutMs: 20_000 }));
      await Promise.all(['a', 'b', 'c'].map((body) => server.event('held', { body })));

      const ended = agents[which].process.end('SIGTERM');
      await until('the socket to be gone', () => !existsSync(agents[which].socket));
      expect(agents[which].process.ending).toBeUndefined();
      expect((await agents[which].readiness()).reasons).toEqual(['the agent is draining']);
      await server.letGo();
      const answers = await Promise.all(calls);
      expect(answers.map(({ body }) => body.toString())).toEqual([
        'server let go of a',
        'server let go of b',
        'server let go of c',
      ]);
      await Promise.all([server, client].map((app) => app.process.end()));
      expect(await ended).toEqual({ code: 0, signal: null });
    },
  );

  it.each(['shm', 'unix', 'tcp'] as const)(
    'answers reach a caller that is busy while its agent ends (%s)',
    async (transport) => {
      const agent = await mesh.agent('agent');
      const server = await mesh.server('server', agent, { service: 'ledger' });
      const client = await mesh.client('client', agent, transport);
      await mesh.reachable(client, 'ledger');
      const bodies = Array.from({ length: 40 }, (_, i) => `${i} `.padEnd(20_000, 'x'));
      const calls = bodies.map((body) => client.call('ledger', 'held', body, { timeoutMs: 20_000 }));
      const answers = Promise.all(calls);
      await Promise.all(bodies.map((body) => server.event('held', { body })));
      const ended = agent.process.end('SIGTERM');
      await until('the socket to be gone', () => !existsSync(agent.socket));
      const spun = client.spin(1_500);
      await client.event('spinning');
      await server.letGo();
      // It ends when both have closed, and the caller does so with its answers still on their way.
      await Promise.all([server.closeServer(), client.closeClient()]);
      expect(await ended).toEqual({ code: 0, signal: null });
      await spun;
      expect((await answers).map(({ body }) => body.toString())).toEqual(
        bodies.map((body) => `server let go of ${body}`),
      );
    },
  );

  it('a second one ends it at once', async () => {
    const agent = await mesh.agent('agent');
    const server = await mesh.server('server', agent, { service: 'ledger' });
    const client = await mesh.client('client', agent);
    await mesh.reachable(client, 'ledger');
    const lost = expect(client.call('ledger', 'held', 'x', { timeoutMs: 20_000 })).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: true,
    });
    await server.event('held');
    agent.process.signal('SIGTERM');
    await until('the socket to be gone', () => !existsSync(agent.socket));
    agent.forced = true;
    expect(await agent.process.end('SIGTERM')).toEqual({ code: 1, signal: null });
    await lost;
  });

  it('waits for a call that never ends no longer than timeouts.drainMs', async () => {
    const agent = await mesh.agent('agent', { timeouts: { drainMs: 300 } });
    const server = await mesh.server('server', agent, { service: 'ledger' });
    const client = await mesh.client('client', agent);
    await mesh.reachable(client, 'ledger');
    const lost = expect(client.call('ledger', 'never', 'x', { timeoutMs: 20_000 })).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: true,
    });
    await server.event('started');
    expect(await agent.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(agent.log.some(({ msg }) => msg.includes('timeouts.drainMs'))).toBe(true);
    await lost;
    await server.event('aborted');
  });

  it('as soon as its socket stands ends it, too, and leaves nothing', async () => {
    const agent = mesh.launch('agent');
    await until('the socket', () => existsSync(agent.socket));
    expect(await agent.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(existsSync(agent.socket)).toBe(false);
  });
});

describe('an address that is taken', () => {
  it('a socket of a live agent is left alone, and the second agent says why it does not start', async () => {
    const first = await mesh.agent('first');
    const second = mesh.launch('second', { socket: { path: first.socket } });
    second.forced = true; // the socket that is still there is the first one's
    expect(await second.process.over()).toEqual({ code: 1, signal: null });
    expect(second.process.stderr).toContain('the agent cannot start');
    expect(second.process.stderr).toContain(first.socket);
    expect(second.process.stderr).toContain('another process listens on');
    const client = await mesh.client('client', first);
    expect(await client.transport()).toBe('shm');
  });

  it('a socket that a dead agent left is replaced', async () => {
    const first = await mesh.agent('agent');
    await first.kill();
    expect(existsSync(first.socket)).toBe(true);
    const second = await mesh.agent('agent');
    expect(second.socket).toBe(first.socket);
    expect(await (await mesh.client('client', second)).transport()).toBe('shm');
  });

  it('a file that is no socket is never removed', async () => {
    const path = join(mesh.directory, 'precious');
    writeFileSync(path, 'precious');
    const agent = mesh.launch('agent', { socket: { path } });
    agent.forced = true; // the file that is still there is not its own
    expect(await agent.process.over()).toEqual({ code: 1, signal: null });
    expect(agent.process.stderr).toContain(path);
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  it.each(['inbound', 'loopback', 'admin'] as const)('the port of %s', async (section) => {
    const first = await mesh.agent('first');
    const port = {
      inbound: first.inbound,
      loopback: first.loopback,
      admin: Number(new URL(first.adminUrl).port),
    };
    const second = mesh.launch('second', { [section]: { port: port[section] } });
    expect(await second.process.over()).toEqual({ code: 1, signal: null });
    expect(second.process.stderr).toContain('cannot start');
    expect(second.process.stderr).toContain(String(port[section]));
  });
});

describe('who may connect', () => {
  const nobody = 65_534;
  const asRoot = process.getuid?.() === 0;

  async function open(name: string, config: Record<string, unknown> = {}): Promise<AgentProcess> {
    const agent = await mesh.agent(name, { socket: { mode: '0666' }, ...config });
    // Traversable for everybody, so that what keeps others out is the agent and not the directory.
    chmodSync(mesh.directory, 0o711);
    chmodSync(join(mesh.directory, name), 0o711);
    return agent;
  }

  it.skipIf(!asRoot)(
    'another user is refused with words on the socket, and falls to the loopback port where that is for it',
    async () => {
      const agent = await open('agent', { loopback: { allowUids: [nobody] } });
      const app = await mesh.app('app', { uid: nobody, env: { RINGSIDE_LOG: '1' } });
      await expect(app.connect(wayTo(agent, 'shm'), 'only-shm')).rejects.toMatchObject({
        status: 'PERMISSION_DENIED',
        mayHaveRun: false,
        message: expect.stringContaining(
          `uid ${nobody} may not use this agent: add it to socket.allowUids`,
        ) as string,
      });
      expect(await app.connect(wayTo(agent, 'auto'))).toBe('tcp');
      expect(app.process.stderr).toContain(`uid ${nobody} may not use this agent`);
      expect((await agent.counters())['links_refused']).toBeGreaterThanOrEqual(2);
    },
  );

  it.skipIf(!asRoot)('a user on the list gets shared memory', async () => {
    const agent = await open('agent', { socket: { mode: '0666', allowUids: [0, nobody] } });
    const app = await mesh.app('app', { uid: nobody });
    expect(await app.connect(wayTo(agent, 'auto'))).toBe('shm');
    const link = (await agent.links()).find((view) => view.app === 'app');
    expect(link?.peer).toContain(`uid ${nobody}`);
  });

  it('a user with too many links is refused the next one', async () => {
    const agent = await mesh.agent('agent', { limits: { linksPerUid: 2 }, loopback: { enabled: false } });
    const first = await mesh.client('first', agent);
    await mesh.client('second', agent, 'unix');
    const third = await mesh.app('third');
    await expect(third.connect(wayTo(agent, 'shm'))).rejects.toMatchObject({
      message: expect.stringContaining('limits.linksPerUid') as string,
    });
    await first.closeClient();
    await until('room for one more', () => third.connect(wayTo(agent, 'shm')).then(Boolean, () => false));
  });

  it('whoever is refused hears why, also one that speaks before it listens', async () => {
    const agent = await mesh.agent('agent', {
      socket: { allowUids: [(process.getuid?.() ?? 0) + 1] },
      loopback: { token: 'correct-horse', allowUids: 'any' },
      limits: { linksPerAddress: 1 },
    });
    const only = RawLink.hello(agent.inbound);
    await only.frame(FrameType.welcome);
    const refusals = [
      { where: agent.socket, words: 'add it to socket.allowUids' },
      { where: agent.loopback, words: 'the loopback port asks for a token' },
      { where: agent.inbound, words: 'limits.linksPerAddress' },
    ];
    for (let round = 0; round < 50; round++) {
      for (const { where, words } of refusals) {
        const refused = RawLink.hello(where);
        refused.request('ledger', 'who');
        const { header } = await refused.frame(FrameType.welcome);
        expect(decodeHeader(header).statusMessage).toContain(words);
        await refused.ended;
      }
    }
    expect((await agent.counters())['links_refused']).toBe(150);
    expect(await agent.links()).toHaveLength(1);
    only.close();
  });

  it('the loopback port asks for the token, the socket does not', async () => {
    const token = 'correct horse'.replace(' ', '-');
    const agent = await mesh.agent('agent', { loopback: { token } });
    const app = await mesh.app('app');
    for (const given of [{}, { token: 'incorrect-horse' }, { token: `${token}x` }]) {
      await expect(app.connect({ ...wayTo(agent, 'tcp'), ...given })).rejects.toMatchObject({
        status: 'UNAUTHENTICATED',
        message: expect.stringContaining('the loopback port asks for a token') as string,
      });
    }
    expect(await app.connect({ ...wayTo(agent, 'tcp'), token })).toBe('tcp');
    const byEnvironment = await mesh.app('by-environment', { env: { RINGSIDE_TOKEN: token } });
    expect(await byEnvironment.connect(wayTo(agent, 'tcp'))).toBe('tcp');
    expect(await app.connect(wayTo(agent, 'shm'), 'socket')).toBe('shm');

    const raw = RawLink.hello(agent.loopback, { flags: Flag.token, body: Buffer.alloc(0) });
    const welcome = await raw.frame(FrameType.welcome);
    expect(statusName(welcome.status)).toBe('UNAUTHENTICATED');
    await raw.ended;
  });

  it('whoever does not begin with a hello is closed out, and nobody else notices', async () => {
    const agent = await mesh.agent('agent');
    const client = await mesh.client('client', agent);
    const request = new RawLink(agent.socket);
    request.request('ledger', 'who');
    const noise = new RawLink(agent.loopback);
    noise.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const peer = new RawLink(agent.inbound);
    peer.socket.write(Buffer.alloc(64, 0xff));
    await Promise.all([request.ended, noise.ended, peer.ended]);
    expect((await agent.counters())['protocol_violations']).toBe(3);
    expect(await client.transport()).toBe('shm');
    expect((await agent.links()).map(({ app }) => app)).toEqual(['client']);
  });

  it('an agent does not let another one ask what only its own apps may', async () => {
    const agent = await mesh.agent('agent');
    const peer = RawLink.hello(agent.inbound);
    peer.request('ringside.agent', 'publish', { body: Buffer.from('{"service":"ledger"}') });
    const reply = await peer.frame(FrameType.response);
    expect(reply.status).toBe(Status.PERMISSION_DENIED);
    expect(decodeHeader(reply.header).statusMessage).toContain("only an agent's own apps");
    expect(mesh.registered()).toEqual([]);
    peer.close();
  });
});

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);
if (!hasIpv6) console.warn('SKIPPED: this machine has no IPv6 loopback address, so ::1 is not tested');
describe.skipIf(!hasIpv6)('IPv6', () => {
  it('agents reach each other on ::1, apps their agent', async () => {
    const addresses = {
      inbound: { host: '::1' },
      advertise: { host: '::1' },
      loopback: { host: '::1' },
    };
    const [near, far] = await Promise.all([mesh.agent('near', addresses), mesh.agent('far', addresses)]);
    const server = await mesh.app('server');
    await server.serve({ service: 'ledger', agent: `tcp://[::1]:${far.loopback}`, transport: 'tcp' });
    const client = await mesh.app('client');
    expect(await client.connect({ agent: `tcp://[::1]:${near.loopback}` })).toBe('tcp');
    await mesh.reachable(client, 'ledger');
    const upstream = (await near.links()).find(({ role }) => role === 'upstream');
    expect(upstream?.peer).toBe(`[::1]:${far.inbound}`);
  });
});
