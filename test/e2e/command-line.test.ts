// The command `ringside` as people and scripts use it: what goes to which stream, exit codes, JSON, and that nothing stays behind.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/agent-process.js';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RunningProcess } from '../support/running-process.js';
import type { StartOptions } from '../support/running-process.js';
import { until } from '../support/until.js';

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}
async function run(args: string[], options: StartOptions = {}): Promise<Result> {
  const command = new RunningProcess(`ringside ${args[0] ?? ''}`, commandLine, args, options);
  const { code } = await command.over();
  return { code, stdout: command.stdout, stderr: command.stderr };
}

const mesh = new Mesh();
let near: AgentProcess;
let server: AppProcess;
let toNear: string[];
beforeAll(async () => {
  near = await mesh.agent('near');
  server = await mesh.server('server', near, { service: 'ledger', group: 'blue' });
  await mesh.reachable(await mesh.client('client', near), 'ledger');
  toNear = ['--agent', near.socket];
});
afterAll(() => mesh.close());

describe('call', () => {
  it('prints the answer and nothing else', async () => {
    const result = await run(['call', 'ledger', 'echo', '--body', 'zürich', ...toNear]);
    expect(result).toEqual({ code: 0, stdout: 'zürich', stderr: '' });
  });

  it('takes the body from a file or from standard input, byte by byte', async () => {
    const file = join(mesh.directory, 'body');
    writeFileSync(file, 'from a file\n');
    expect((await run(['call', 'ledger', 'echo', '-b', `@${file}`, ...toNear])).stdout).toBe('from a file\n');
    const input = 'from standard input, '.repeat(3_000);
    expect((await run(['call', 'ledger', 'echo', '-b', '-', ...toNear], { input })).stdout).toBe(input);
  });

  it.each(['shm', 'unix'] as const)(
    'goes over %s, passes group and attachments, and says so in JSON',
    async (way) => {
      const args = [
        '-g',
        'blue',
        '-a',
        'tenant=a=b',
        '-a',
        'empty=',
        '--transport',
        way,
        '--json',
        ...toNear,
      ];
      const { code, stdout } = await run(['call', 'ledger', 'info', ...args]);
      expect(code).toBe(0);
      const answer = JSON.parse(stdout) as Record<string, unknown>;
      expect(answer).toMatchObject({ status: 'OK', transport: way, attachments: { 'served-by': 'server' } });
      expect(answer['tookUs']).toBeGreaterThan(0);
      expect(JSON.parse(answer['body'] as string)).toMatchObject({
        group: 'blue',
        attachments: { tenant: 'a=b', empty: '' },
        sourceApp: 'ringside-call',
      });
    },
  );

  it('finds the agent by its environment, also over TCP', async () => {
    const env = { RINGSIDE_AGENT: `tcp://127.0.0.1:${near.loopback}` };
    const { stdout } = await run(['call', 'ledger', 'who', '--json'], { env });
    expect(JSON.parse(stdout)).toMatchObject({ body: 'server', transport: 'tcp' });
  });

  it('a one-way call waits for nobody', async () => {
    expect(await run(['call', 'ledger', 'note', '-b', 'by the way', '--one-way', ...toNear])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    await server.event('note', { body: 'by the way' });
  });

  it('that fails exits 1 and says status, text and whether it ran', async () => {
    expect(await run(['call', 'ledger', 'fail-mesh', ...toNear])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'ringside: NOT_FOUND: no such thing: zürich (it may have run)\n',
    });
    const refused = await run(['call', 'nobody', 'x', ...toNear]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^ringside: UNAVAILABLE: .*\(it has not run\)\n$/);
    const late = await run(['call', 'ledger', 'never', '--timeout', '100', '--json', ...toNear]);
    expect(late.code).toBe(1);
    expect(late.stderr).toBe('');
    expect(JSON.parse(late.stdout)).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: true });
  });

  it('without an agent exits 1 and says where it looked, in JSON too', async () => {
    const nowhere = ['--agent', join(mesh.directory, 'nowhere.sock')];
    const plain = await run(['call', 'ledger', 'echo', ...nowhere]);
    expect(plain.code).toBe(1);
    expect(plain.stderr).toContain('no agent can be reached');
    expect(plain.stderr).toContain('nowhere.sock');
    const json = await run(['call', 'ledger', 'echo', '--json', ...nowhere]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
      transport: 'none',
    });
  });

  it.each([
    ['an option that there is not', ['call', 'a', 'b', '--no-such-option'], '--no-such-option'],
    ['a missing argument', ['call', 'a'], 'method'],
    ['a timeout that is no number', ['call', 'a', 'b', '--timeout', 'soon'], 'number above 0'],
    ['a transport that there is not', ['call', 'a', 'b', '--transport', 'pigeon'], 'pigeon'],
    ['an attachment without a value', ['call', 'a', 'b', '--attach', 'x'], 'key=value'],
    ['a body file that is missing', ['call', 'a', 'b', '--body', '@/nowhere/body'], '/nowhere/body'],
    ['a command that there is not', ['cal'], 'cal'],
    ['no command', [], 'Usage'],
    ['a required option left out', ['serve-echo'], '--service'],
  ])('%s exits 2 with a word about it', async (_what, args, text) => {
    const { code, stdout, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(text);
  });
});

describe('help', () => {
  const commands = ['agent', 'call', 'serve-echo', 'status', 'top', 'doctor', 'demo', 'completion'];
  it('of the whole names every command', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(stdout).not.toContain('demo-server');
  });
  it.each(commands)('of %s exits 0 and shows its options', async (command) => {
    const { code, stdout, stderr } = await run([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: ringside ${command}`);
    expect(stdout).toContain('--');
  });
  it('--version is the package’s', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('serve-echo', () => {
  it('publishes, answers, and leaves on SIGTERM', async () => {
    const echo = new RunningProcess('echo', commandLine, [
      'serve-echo',
      '-s',
      'parrot',
      '-g',
      'red',
      '--json',
      ...toNear,
    ]);
    const line = await echo.seen('its line', (stdout) => /^.*\n/.exec(stdout)?.[0]);
    expect(JSON.parse(line)).toEqual({ service: 'parrot', transport: 'shm' });
    await until('parrot to answer', async () => {
      const { code, stdout } = await run([
        'call',
        'parrot',
        'anything',
        '-b',
        'polly',
        '-g',
        'red',
        ...toNear,
      ]);
      return code === 0 && stdout === 'polly';
    });
    expect(await echo.end('SIGTERM')).toEqual({ code: 0, signal: null });
    const after = await run(['call', 'parrot', 'anything', ...toNear]);
    expect(after.stderr).toContain('UNAVAILABLE');
  });

  it('without an agent says its address', async () => {
    const echo = new RunningProcess('echo', commandLine, [
      'serve-echo',
      '-s',
      'parrot',
      '--listen',
      '127.0.0.1:0',
    ]);
    await echo.seen('its address', (stdout) => /^serving parrot on 127\.0\.0\.1:\d+\n$/.test(stdout));
    expect(await echo.end('SIGINT')).toEqual({ code: 0, signal: null });
  });
});

describe('status', () => {
  it('shows a running agent as tables', async () => {
    const { code, stdout, stderr } = await run(['status', '--admin', near.adminUrl]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^ready\n/);
    for (const word of ['links', 'clusters', 'flows', 'limits', 'counters', 'ledger', 'server', 'shm', 'p2c'])
      expect(stdout).toContain(word);
  });

  it('and as one JSON object', async () => {
    const { code, stdout } = await run(['status', '--admin', near.adminUrl, '--json']);
    expect(code).toBe(0);
    const status = JSON.parse(stdout) as Record<string, unknown[]>;
    expect(Object.keys(status)).toEqual([
      'agent',
      'ready',
      'links',
      'clusters',
      'flows',
      'counters',
      'limits',
      'registry',
      'programs',
      'handoff',
    ]);
    expect(status['ready']).toEqual({ ok: true, reasons: [], warnings: [] });
    expect(status['links']).toContainEqual(
      expect.objectContaining({ app: 'server', kind: 'shm', role: 'app' }),
    );
  });

  it('without an agent exits 1 and says what to check', async () => {
    const { code, stderr } = await run(['status', '--admin', 'http://127.0.0.1:1']);
    expect(code).toBe(1);
    expect(stderr).toContain('admin.port');
  });
});

describe('metrics', () => {
  const promtool = spawnSync('promtool', ['--version']).status === 0;
  if (!promtool) console.warn('SKIPPED: promtool is not installed, so the metrics are not checked with it');

  it.skipIf(!promtool)('of an agent that has worked please promtool', async () => {
    const text = await (await fetch(`${near.adminUrl}/metrics`)).text();
    expect(text).toMatch(
      /^ringside_requests_total\{direction="outbound",service="ledger",status="OK"\} [1-9]/m,
    );
    const check = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    expect(check.stderr + check.stdout).toBe('');
    expect(check.status).toBe(0);
  });
});

describe('demo', () => {
  /** Runs a demo whose temporary files, and whose processes' environment, bear this test's mark. */
  function demo(name: string, args: string[]): { process: RunningProcess; left: () => string[] } {
    const home = join(mesh.directory, name);
    mkdirSync(home);
    const process = new RunningProcess('demo', commandLine, ['demo', ...args], { env: { TMPDIR: home } });
    return { process, left: () => [...readdirSync(home), ...processesWith(`TMPDIR=${home}`)] };
  }

  it('--json prints one object of three paths without an error, and nothing is left', async () => {
    const { process, left } = demo('demo', ['--seconds', '1', '--rounds', '2', '--rate', '500', '--json']);
    expect(await process.over()).toEqual({ code: 0, signal: null });
    const { paths } = JSON.parse(process.stdout) as { paths: Record<string, Record<string, number>> };
    expect(Object.keys(paths)).toEqual(['direct', 'tcp', 'shm']);
    for (const figures of Object.values(paths)) {
      expect(Object.keys(figures)).toEqual([
        'requests',
        'errors',
        'achievedRps',
        'meanUs',
        'p50Us',
        'p90Us',
        'p99Us',
        'addedP50Us',
        'addedMeanUs',
      ]);
      expect(figures).toMatchObject({ requests: 500, errors: 0 });
      for (const value of Object.values(figures)) expect(Number.isFinite(value)).toBe(true);
      expect(figures['p50Us']).toBeLessThanOrEqual(figures['p90Us'] as number);
    }
    expect(paths['direct']).toMatchObject({ addedP50Us: 0, addedMeanUs: 0 });
    expect(left()).toEqual([]);
  });

  it('as a table for people', async () => {
    const { process, left } = demo('table', ['--seconds', '0.5', '--rounds', '1', '--rate', '200']);
    expect(await process.over()).toEqual({ code: 0, signal: null });
    for (const word of ['direct', 'tcp', 'shm', 'p99', 'agents add']) expect(process.stdout).toContain(word);
    expect(left()).toEqual([]);
  });

  it('interrupted in the middle takes everything with it', async () => {
    const { process, left } = demo('interrupted', ['--seconds', '60', '--rounds', '60']);
    await process.seen('the first round', (_stdout, stderr) => stderr.includes('round 1'));
    expect(left().length).toBeGreaterThan(4);
    expect(await process.end('SIGINT')).toEqual({ code: 130, signal: null });
    expect(left()).toEqual([]);
  });
});

/** Processes with this line in their environment; none that may not be looked at. */
function processesWith(variable: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        existsSync(`/proc/${pid}/exe`) &&
        readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable)
      );
    } catch {
      return false;
    }
  });
}
