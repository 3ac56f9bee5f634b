// Who may use the loopback port: the users that may use the socket, whatever protocol they speak, and whoever a token or the configuration lets in. Other
// users are real ones, which only root can make; a user namespace makes them root to themselves.
import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import type { StartOptions } from '../support/running-process.js';
import { until } from '../support/until.js';

const stranger = 12_345;
const asRoot = process.getuid?.() === 0;
if (!asRoot)
  console.warn('SKIPPED: only root can become another user, so the loopback port is tested with one only');
const namespaces = spawnSync('unshare', ['-U', '-r', 'true'], asRoot ? { uid: stranger } : {}).status === 0;
if (!namespaces) console.warn('SKIPPED: user namespaces are not permitted here, so none is tested');
const inNamespace: StartOptions = { through: ['unshare', '-U', '-r'] };

let mesh: Mesh;
beforeEach(() => (mesh = new Mesh()));
afterEach(() => mesh.close());

/** An agent whose socket everybody may reach, so that what keeps others out is the agent. */
async function open(config: AgentConfig = {}): Promise<AgentProcess> {
  const agent = await mesh.agent('agent', { socket: { mode: '0666' }, ...config });
  chmodSync(mesh.directory, 0o711);
  chmodSync(join(mesh.directory, 'agent'), 0o711);
  return agent;
}

/** What an agent answers to an old client that another user runs, which writes all it has to say and waits for the end. */
function oldCall(port: number, action: string, m: string, args: unknown[], uid: number): string {
  const request = `GET ${JSON.stringify({ action, params: { m, args } })}\r\nQUIT\r\n`;
  const script = `
    const socket = require('node:net').connect(${port}, '127.0.0.1');
    socket.write(${JSON.stringify(request)});
    socket.pipe(process.stdout);
    socket.on('error', (error) => process.stdout.write(String(error)));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { uid, cwd: '/', timeout: 20_000 });
  return `${stdout.toString()}${stderr.toString()}`;
}
const register = (port: number, uid: number, address = '127.0.0.1:7'): string =>
  oldCall(port, '/service/moa-admin', 'registerService', ['/service/old', address, 'redis', {}], uid);

const refusal = `uid ${stranger} may not use this agent's port for applications: add it to loopback.allowUids`;

describe.skipIf(!asRoot)('a user whom the configuration does not name', () => {
  it('neither calls nor publishes nor registers over the loopback port', async () => {
    const agent = await open();
    await mesh.server('server', agent, { service: 'ledger' });
    const thief = await mesh.app('thief', { uid: stranger });
    const refused = { status: 'PERMISSION_DENIED', message: expect.stringContaining(refusal) as string };
    await expect(thief.connect(wayTo(agent, 'tcp'))).rejects.toMatchObject(refused);
    await expect(thief.serve({ ...wayTo(agent, 'tcp'), service: 'ledger' })).rejects.toMatchObject(refused);
    expect(register(agent.loopback, stranger)).toContain(`-NOPERM ${refusal}`);
    expect(mesh.registered()).toHaveLength(1);
    expect((await agent.links()).map(({ app }) => app)).toEqual(['server']);
    const client = await mesh.client('client', agent, 'tcp');
    await mesh.reachable(client, 'ledger');
    expect((await client.call('ledger', 'who', '')).body.toString()).toBe('server');
  });

  it.skipIf(!namespaces)('is no other in a user namespace, where it is root to itself', async () => {
    const agent = await open();
    const thief = await mesh.app('thief', { uid: stranger, ...inNamespace });
    // In there the agent's user is nobody it knows, which it must be told not to mind.
    const way = { ...wayTo(agent, 'tcp'), agentUids: 'any' };
    await expect(thief.serve({ ...way, service: 'ledger' })).rejects.toMatchObject({
      message: expect.stringContaining(refusal) as string,
    });
    expect(mesh.registered()).toEqual([]);
  });

  it('is let in by loopback.allowUids, which may differ from those of the socket', async () => {
    const agent = await open({ loopback: { allowUids: [0, stranger] } });
    const app = await mesh.app('app', { uid: stranger });
    expect(await app.connect(wayTo(agent, 'auto'))).toBe('tcp');
    expect((await agent.links()).find((link) => link.app === 'app')?.peer).toMatch(
      new RegExp(`^127\\.0\\.0\\.1:\\d+ uid ${stranger}$`),
    );
    expect(register(agent.loopback, stranger)).toContain('"result":true');
    expect(
      oldCall(
        agent.loopback,
        '/service/moa-admin',
        'unregisterService',
        ['/service/old', '127.0.0.1:7', 'redis', {}],
        stranger,
      ),
    ).toContain('"result":true');
  });

  it('is let in by "any", and a link of its stays when the next process would refuse it', async () => {
    const agent = await open({ loopback: { allowUids: 'any' } });
    const app = await mesh.app('app', { uid: stranger });
    await app.serve({ ...wayTo(agent, 'tcp'), service: 'ledger' });
    agent.change({ loopback: { allowUids: [0] } });
    const next = await mesh.upgrade(agent);
    const client = await mesh.client('client', next);
    await mesh.reachable(client, 'ledger');
    const late = await mesh.app('late', { uid: stranger });
    await expect(late.connect(wayTo(next, 'tcp'))).rejects.toMatchObject({
      message: expect.stringContaining(refusal) as string,
    });
  });

  it('registers nothing over the inbound port either, where others may; it may look up', async () => {
    const agent = await open({ legacy: { registration: 'any' } });
    expect(register(agent.inbound, stranger)).toContain(
      `uid ${stranger} of this machine may not register servers with this agent: add it to loopback.allowUids`,
    );
    expect(
      oldCall(agent.inbound, '/service/lookup', 'getService', ['/service/old', 'redis'], stranger),
    ).toContain('"hosts":[]');
    expect(register(agent.inbound, 0)).toContain('"result":true');
    await until('the registration to stand', () => mesh.registered().length === 1);
    expect(
      oldCall(
        agent.inbound,
        '/service/moa-admin',
        'unregisterService',
        ['/service/old', '127.0.0.1:7', 'redis', {}],
        0,
      ),
    ).toContain('"result":true');
  });
});

describe.skipIf(!namespaces || !asRoot)('an agent in a user namespace that does not know its callers', () => {
  it('asks them for a token, and takes those who show it', async () => {
    const token = 'correct-horse';
    const env = { RINGSIDE_TOKEN: '' };
    // The agent's own user is the only one there; root outside reads as nobody.
    chmodSync(mesh.directory, 0o777);
    const config = { socket: { mode: '0666' } };
    const without = await mesh.agent('without', config, { ...inNamespace });
    expect(without.socket).not.toBe('');
    const app = await mesh.app('app', { env, uid: stranger });
    await expect(app.connect(wayTo(without, 'tcp'))).rejects.toMatchObject({
      message: expect.stringContaining('show the loopback.token') as string,
    });
    const withToken = await mesh.agent('with', { ...config, loopback: { token } }, { ...inNamespace });
    expect(await app.connect({ ...wayTo(withToken, 'tcp'), token })).toBe('tcp');
  });
});

describe("the agent's own user", () => {
  it('serves and calls over TCP without any setting where it cannot use the socket', async () => {
    const agent = await mesh.agent('agent');
    const way = {
      agent: { socket: join(mesh.directory, 'none.sock'), tcp: `tcp://127.0.0.1:${agent.loopback}` },
    };
    const server = await mesh.app('server');
    await server.serve({ ...way, service: 'ledger' });
    const client = await mesh.app('client');
    expect(await client.connect(way)).toBe('tcp');
    await mesh.reachable(client, 'ledger');
  });

  it('registers old servers of this machine only', async () => {
    const agent = await mesh.agent('agent');
    const uid = process.getuid?.() ?? 0;
    expect(register(agent.loopback, uid, '10.9.8.7:7')).toContain('"ec":506');
    expect(register(agent.loopback, uid, '169.254.169.254:80')).toContain('"ec":506');
    expect(mesh.registered()).toEqual([]);
  });
});
