// A relative path names the agent that it named when the option was read, wherever the application goes later. In a process of its own, since the directory
// belongs to the process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeAgent } from '../support/fake-mesh-agent.js';

let folder: string;
let app: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-relative-'));
  app = join(folder, 'app.mjs');
  const entry = fileURLToPath(new URL('../support/apps/changes-directory.ts', import.meta.url));
  await build({ entryPoints: [entry], outfile: app, format: 'esm', bundle: true, platform: 'node' });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['the option', ['unix:agent.sock'], {}],
  ['RINGSIDE_AGENT', [], { RINGSIDE_AGENT: './agent.sock' }],
])('a relative path in %s survives a change of directory', async (_where, args, env) => {
  const process_ = spawn(process.execPath, [app, ...args], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
  });
  const exit = once(process_, 'exit');
  await once(process_.stdout, 'data');
  const agent = await FakeAgent.start({ unix: true, path: join(folder, 'agent.sock') });
  agent.onRequest = (link, request) => link.reply(request, { body: request.body });
  try {
    expect(await text(process_.stdout)).toBe('hi\n');
    await exit;
  } finally {
    process_.kill();
    await agent.stop();
  }
});
