// A machine on which the addon could not be built: a copy of the package without it. Applications use the unix socket of an agent from
// elsewhere and miss nothing; what needs the addon says so, and how to get it.
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { wayTo } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RunningProcess } from '../support/running-process.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const howToGetIt = 'npm run build:native';

const mesh = new Mesh();
let folder: string;
let agent: AgentProcess;
let client: AppProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-bare-'));
  for (const part of ['dist', 'package.json'])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  const bare = { env: { TEST_SDK: join(folder, 'dist/index.js') } };

  agent = await mesh.agent('agent');
  const [server, caller] = await Promise.all([mesh.app('server', bare), mesh.app('client', bare)]);
  client = caller;
  expect(await server.serve({ ...wayTo(agent, 'auto'), service: 's' })).toMatchObject({ transport: 'unix' });
  expect(await client.connect(wayTo(agent, 'auto'))).toBe('unix');
  await mesh.reachable(client, 's');
});
afterAll(async () => {
  await mesh.close();
  rmSync(folder, { recursive: true, force: true });
});

it('applications fall to the unix socket, where bodies of all sizes arrive', async () => {
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  for (const bytes of [0, 1, 65_536, 1_000_000]) {
    const body = randomBytes(bytes);
    expect(digest((await client.call('s', 'echo', body)).body)).toBe(digest(body));
  }
});

it('applications that insist on shared memory are told what is missing', async () => {
  const refused = client.connect({ ...wayTo(agent, 'shm'), connectTimeoutMs: 1_000 }, 'insists');
  await expect(refused).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    message: expect.stringContaining(howToGetIt) as string,
  });
});

it('an agent ends at once and says what is missing', async () => {
  const config = join(folder, 'agent.yaml');
  const listening = { socket: { path: join(folder, 'agent.sock') }, inbound: { port: 0 } };
  writeFileSync(config, JSON.stringify({ ...listening, loopback: { port: 0 }, admin: { port: 0 } }));
  const run = new RunningProcess('agent', join(folder, 'dist/cli/main.js'), ['agent', '--config', config]);
  const { code } = await run.over();
  expect(code).not.toBe(0);
  expect(run.stdout + run.stderr).toContain(howToGetIt);
});
