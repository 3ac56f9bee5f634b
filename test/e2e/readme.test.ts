// README's steps to a real service, run as they stand there: the package packed and installed into an empty folder, which compiles the addon as at a user's.
// They use the default ports, so the test says aloud that it is skipped where somebody else has them.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { until } from '../support/until.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'ringside-readme-'));
const folder = join(home, 'empty');
mkdirSync(folder);
// A user's shell: of the test's own environment only what programs need; the default socket is in a place of this test's.
const env = { PATH: process.env['PATH'], HOME: home, XDG_RUNTIME_DIR: home, npm_config_cache: npmCache() };
const running: { child: ChildProcess; output: string }[] = [];

/** The blocks of code in README's steps, in their order: shell, shell, shell, serve.js, call.js, shell. */
function steps(): string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const part = /<!-- steps begin[^]*?<!-- steps end -->/.exec(readme)?.[0] ?? '';
  return [...part.matchAll(/```(?:sh|js)\n([^]*?)```/g)].map(([, code]) =>
    (code ?? '').replaceAll(/^ {3}/gm, ''),
  );
}

function npmCache(): string {
  const { stdout } = spawnSync('npm', ['config', 'get', 'cache'], { encoding: 'utf8' });
  return stdout.trim();
}

function shell(command: string, cwd = folder): string {
  const run = spawnSync('sh', ['-e', '-c', command], { cwd, env, encoding: 'utf8', timeout: 600_000 });
  expect({ command, status: run.status, stderr: run.stderr }).toMatchObject({ status: 0 });
  return run.stdout;
}

/** Starts what stays; a group of its own, since a shell or npx stands between. */
function start(command: string): { child: ChildProcess; output: string } {
  const child = spawn('sh', ['-c', `exec ${command}`], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const one = { child, output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => (one.output += bytes.toString()));
  }
  running.push(one);
  return one;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined) return;
  const gone = (): boolean => {
    try {
      process.kill(-pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  if (!gone()) process.kill(-pid, 'SIGTERM');
  await until('all of its group to end', () => gone());
}

afterAll(async () => {
  for (const { child } of running.reverse()) await end(child);
  rmSync(home, { recursive: true, force: true });
});

it('every step works when it is pasted into an empty folder', { timeout: 900_000 }, async (context) => {
  for (const port of [15100, 15101, 15102]) {
    if (await isFree(port)) continue;
    console.warn(`SKIPPED README's steps: port ${port} is in use`);
    context.skip();
  }
  const [pack, install, agent, serve, call, look, ...more] = steps();
  expect(look).toBeDefined();
  expect(more).toEqual([]);
  shell(pack ?? '', root);
  shell(install ?? '');
  const first = start(agent ?? '');
  await until('the agent to listen', () => /listens/.test(first.output) || first.child.exitCode !== null);
  expect(first.output).not.toContain('"level":"error"');
  writeFileSync(join(folder, 'serve.js'), serve ?? '');
  const server = start('node serve.js');
  await until('the service to serve', () => server.output.includes('\n') || server.child.exitCode !== null);
  expect(server.output).toBe('serving over shm\n');
  writeFileSync(join(folder, 'call.js'), call ?? '');
  expect(shell('node call.js')).toBe('shm {"id":7,"name":"Ada"}\n');
  const seen = shell(look ?? '');
  expect(seen).toContain('{"id":7,"name":"Ada"}');
  expect(seen).toContain('user-service');
  expect(seen).toContain('ringside_ready 1');
  server.child.kill('SIGTERM');
  await until('the server to leave', () => server.child.exitCode !== null);
  expect({ code: server.child.exitCode, output: server.output }).toEqual({
    code: 0,
    output: 'serving over shm\n',
  });
});
