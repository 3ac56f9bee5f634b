// What an application tells to whom: nobody who listens where its agent should be, but is another user, hears a token or a request. Listeners here only note
// what they are told. Other users are real ones, which only root can make.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commandLine } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RunningProcess } from '../support/running-process.js';
import { steadyPort } from '../support/steady-port.js';

const thief = 12_345;
const victim = 12_346;
const token = 'correct-horse';
const asRoot = process.getuid?.() === 0;
if (!asRoot)
  console.warn('SKIPPED: only root can become another user, so nobody listens for applications of others');

const script = fileURLToPath(new URL('../support/apps/listening-thief.mjs', import.meta.url));
let mesh: Mesh;
let home: string;
beforeEach(() => {
  mesh = new Mesh();
  home = mkdtempSync(join(tmpdir(), 'ringside-foreign-'));
  chmodSync(home, 0o1777);
});
afterEach(async () => {
  await mesh.close();
  rmSync(home, { recursive: true });
});

/** Listens as another user at a path or port, until `use` is done; tells how many bytes it heard. */
async function listening(at: string | number, use: () => Promise<void>): Promise<number> {
  const listener = new RunningProcess('thief', script, [String(at)], { uid: thief, cwd: '/' });
  await listener.message('that it listens', (message: { listens?: true }) => message.listens);
  await use();
  await listener.end('SIGTERM');
  return Number(/heard (\d+)/.exec(listener.stdout)?.[1]);
}

function directoryOf(uid: number, mode: number): string {
  const directory = mkdtempSync(join(home, 'of-'));
  chownSync(directory, uid, uid);
  chmodSync(directory, mode);
  return directory;
}

async function victimApp(env: Record<string, string> = {}): Promise<AppProcess> {
  return mesh.app('victim', { uid: victim, env: { RINGSIDE_TOKEN: token, ...env } });
}

const refused = (words: string): object => ({
  status: 'UNAVAILABLE',
  message: expect.stringContaining(words) as string,
});

describe.skipIf(!asRoot)('where another user listens', () => {
  it.each(['shm', 'unix', 'no-addon'] as const)('on the socket (%s), nothing is said', async (transport) => {
    // Everybody may write there, so its owner is nobody in particular.
    const socket = join(directoryOf(thief, 0o777), 'agent.sock');
    const env = transport === 'no-addon' ? { RINGSIDE_ADDON: 'off' } : {};
    const app = await victimApp(env as Record<string, string>);
    const way = { agent: socket, transport: transport === 'no-addon' ? 'unix' : transport };
    const heard = await listening(socket, async () => {
      await expect(app.connect(way)).rejects.toMatchObject(
        refused(`is listened on by uid ${thief}, whom this application does not take for its agent`),
      );
    });
    expect(heard).toBe(0);
  });

  it('on the TCP port, nothing is said', async () => {
    const port = steadyPort();
    const app = await victimApp();
    const heard = await listening(port, async () => {
      await expect(app.connect({ agent: `tcp://127.0.0.1:${port}` })).rejects.toMatchObject(
        refused(`port ${port} is listened on by uid ${thief}`),
      );
    });
    expect(heard).toBe(0);
  });

  it.each(['shm', 'unix', 'tcp'] as const)(
    'whom the option names, it is spoken to (%s)',
    async (transport) => {
      const port = steadyPort();
      const socket = join(directoryOf(thief, 0o777), 'agent.sock');
      const app = await victimApp();
      const way = { ...wayTo({ socket, loopback: port }, transport), connectTimeoutMs: 300 };
      const heard = await listening(transport === 'tcp' ? port : socket, async () => {
        await expect(app.connect({ ...way, agentUids: [thief] })).rejects.toMatchObject({
          status: 'UNAVAILABLE',
        });
      });
      expect(heard).toBeGreaterThan(token.length);
    },
  );

  it('in its own directory, which was given, it is the agent: sidecars run under another user', async () => {
    const socket = join(directoryOf(thief, 0o755), 'agent.sock');
    const app = await victimApp();
    const heard = await listening(socket, async () => {
      await expect(
        app.connect({ agent: socket, transport: 'unix', connectTimeoutMs: 300 }),
      ).rejects.toMatchObject({ status: 'UNAVAILABLE' });
    });
    expect(heard).toBeGreaterThan(token.length);
  });

  it('in the default directory, which it made first, nothing is read and nothing is said', async () => {
    const runtime = home; // everybody may make a directory there
    mkdirSync(join(runtime, 'ringside'));
    chownSync(join(runtime, 'ringside'), thief, thief);
    const socket = join(runtime, 'ringside', 'agent.sock');
    writeFileSync(`${socket}.fallback`, JSON.stringify({ token, agents: ['127.0.0.1:1'] }));
    chmodSync(`${socket}.fallback`, 0o644);
    const app = await victimApp({ XDG_RUNTIME_DIR: runtime, RINGSIDE_AGENT_TCP: '' });
    const heard = await listening(socket, async () => {
      const failure = await app.connect({}).then(
        () => undefined,
        (error: Error) => error.message,
      );
      expect(failure).toContain(`belongs to uid ${thief}`);
      expect(failure).toMatch(/shm: .*belongs to.*unix: .*belongs to.*fallback: .*belongs to/);
    });
    expect(heard).toBe(0);
  });

  it('an agent does not start in a default directory that somebody else made', () => {
    mkdirSync(join(home, 'ringside'));
    chownSync(join(home, 'ringside'), thief, thief);
    const { status, stderr, stdout } = spawnSync(process.execPath, [commandLine, 'agent'], {
      env: { ...process.env, XDG_RUNTIME_DIR: home },
      timeout: 20_000,
    });
    expect(status).toBe(1);
    expect(`${stderr.toString()}${stdout.toString()}`).toContain(`belongs to uid ${thief}`);
    expect(existsSync(join(home, 'ringside', 'registry'))).toBe(false);
  });
});

describe.skipIf(!asRoot)('a sidecar under another user, in a directory of its own', () => {
  it('is used over shared memory by a group of users, as the documentation has it', async () => {
    chmodSync(mesh.directory, 0o755);
    const directory = join(mesh.directory, 'run');
    mkdirSync(directory);
    chownSync(directory, thief, thief);
    const registry = join(mesh.directory, 'registry');
    mkdirSync(registry, { mode: 0o700 });
    chownSync(registry, thief, thief);
    const takeover = join(mesh.directory, 'run-takeover');
    mkdirSync(takeover, { mode: 0o700 });
    chownSync(takeover, thief, thief);
    const socket = join(directory, 'agent.sock');
    const agent = await mesh.agent(
      'agent',
      {
        socket: { path: socket, mode: '0666', allowUids: [victim] },
        registry: { directory: registry, cacheFile: join(directory, 'cache.json') },
      },
      { uid: thief },
    );
    const server = await victimApp();
    await server.serve({ agent: socket, transport: 'shm', service: 'ledger' });
    const client = await mesh.app('client', { uid: victim });
    expect(await client.connect({ agent: socket })).toBe('shm');
    await mesh.reachable(client, 'ledger');
    const apps = (await agent.links()).filter(({ role }) => role === 'app');
    expect(apps.map(({ kind }) => kind)).toEqual(['shm', 'shm']);
  });
});
