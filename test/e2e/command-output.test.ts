// What the commands write, and to whom: readers that go away, standard streams that are closed, errors as JSON, exit codes, and names that others
// chose, which must not command a terminal.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MeshError, serve } from '../../src/index.js';
import type { Server } from '../../src/index.js';
import { FrameType } from '../../src/protocol/frame.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { commandLine } from '../support/agent-process.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { RawLink } from '../support/raw-link.js';
import { RunningProcess } from '../support/running-process.js';

// eslint-disable-next-line no-control-regex
const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;
const evilApp = 'shop\u001b[2J\u202e\nready\u009b31m';
const evilText = 'no such \u001b]0;owned\u0007thing\nringside: OK';

const mesh = new Mesh();
let agent: AgentProcess;
let server: Server;
let evil: RawLink;
let admin: string[];
let link: string[];
beforeAll(async () => {
  agent = await mesh.agent('near', { log: { level: 'debug' } });
  server = await serve({
    ...{ app: 'shop', service: 'ledger', agent: agent.socket, transport: 'unix' },
    methods: {
      large: () => 'x'.repeat(3_000_000),
      echo: (request) => request.body,
      fail: () => {
        throw new MeshError('NOT_FOUND', evilText);
      },
    },
  });
  // No SDK of ours would call itself that.
  evil = RawLink.hello(agent.socket, { header: encodeHeader({ sourceApp: evilApp }) });
  await evil.frame(FrameType.welcome);
  admin = ['--admin', agent.adminUrl];
  link = ['--agent', agent.socket];
});
afterAll(async () => {
  evil.socket.destroy();
  await server.close();
  await mesh.close();
});

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** What bash makes of a script. */
function bash(script: string): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile('bash', ['-c', script], { timeout: 60_000, maxBuffer: 2 ** 26 }, (_error, stdout, stderr) =>
      resolve({ stdout, stderr }),
    );
  });
}

/** Runs a command within a shell's line, where `{}` stands for it; its exit code is what the line prints last on standard error. */
async function inShell(line: string, args: readonly string[]): Promise<Outcome> {
  const command = [process.execPath, commandLine, ...args].map((word) => `'${word}'`).join(' ');
  const { stdout, stderr } = await bash(line.replace('{}', command));
  const [, told = stderr, code = 'none'] = /^(.*?)code (\d+)\n$/s.exec(stderr) ?? [];
  return { code: Number(code), stdout, stderr: told };
}
const untilHead = '{} | head -c 1; echo "code ${PIPESTATUS[0]}" >&2';
const plain = '{}; echo "code $?" >&2';

describe('a reader that goes away', () => {
  it.each([
    ['status', () => ['status', ...admin]],
    ['status --json', () => ['status', '--json', ...admin]],
    ['top --json', () => ['top', '--json', '--interval', '0.05', ...admin]],
    ['call', () => ['call', 'ledger', 'large', ...link]],
    ['call --json', () => ['call', 'ledger', 'large', '--json', ...link]],
    ['doctor', () => ['doctor', ...link]],
    ['help', () => ['--help']],
    ['completion', () => ['completion', 'zsh']],
  ])('ends %s quietly with its own code', async (_name, args) => {
    expect(await inShell(untilHead, args())).toMatchObject({ code: 0, stderr: '' });
  });

  it('before anything is written is none to wait for either', async () => {
    const { code, stderr } = await inShell('{} | true; echo "code ${PIPESTATUS[0]}" >&2', [
      'status',
      ...admin,
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('of errors changes nothing but that they are not read', async () => {
    const line = '{} 2> >(true); echo "code $?" >&2';
    expect((await inShell(line, ['call', 'ledger', 'fail', ...link])).code).toBe(1);
  });
});

it('output that cannot be written is a failure that is told', async () => {
  const { code, stderr } = await inShell('{} > /dev/full; echo "code $?" >&2', ['status', ...admin]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^ringside: standard output cannot be written: .*ENOSPC/);
});

describe('standard streams that are closed or absent', () => {
  it.each([
    ['top --once <&-', ['top', '--once', '--interval', '0.05'], '<&-'],
    ['top --once </dev/null', ['top', '--once', '--interval', '0.05'], '</dev/null'],
    ['status <&- >&-', ['status'], '<&- >&-'],
    ['top --once from a directory', ['top', '--once', '--interval', '0.05'], '</'],
  ])('%s works', async (_name, args, streams) => {
    const { code, stderr } = await inShell(`{} ${streams}; echo "code $?" >&2`, [...args, ...admin]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('call takes a body that comes in pieces, and an empty one where standard input is closed', async () => {
    const args = ['call', 'ledger', 'echo', '-b', '-', ...link];
    expect(await inShell('(printf one; sleep 0.2; printf two) | {}; echo "code $?" >&2', args)).toEqual({
      ...{ code: 0, stdout: 'onetwo', stderr: '' },
    });
    expect(await inShell('{} <&-; echo "code $?" >&2', args)).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('a body without an end is refused', async () => {
    const { code, stderr } = await inShell(plain, ['call', 'ledger', 'echo', '-b', '@/dev/zero', ...link]);
    expect(code).toBe(2);
    expect(stderr).toContain('at most');
  });
});

describe('with --json an error is one JSON object on standard output', () => {
  const nowhere = 'http://127.0.0.1:1';
  it.each([
    ['an unknown option', ['status', '--json', '--no-such'], 2, /--no-such/],
    ['a missing argument', ['call', 'a', '--json'], 2, /method/],
    ['an attachment without a value', ['call', 'a', 'b', '--json', '--attach', 'x'], 2, /key=value/],
    ['nobody who answers', ['status', '--json', '--admin', nowhere], 1, /no agent answers/],
    ['an admin address that is none', ['top', '--json', '--admin', 'x'], 2, /no http URL/],
    ['a configuration that is not there', ['doctor', '--json', '-c', '/nowhere.yaml'], 2, /nowhere/],
    ['no configuration to check', ['agent', '--check', '--json', '-c', '/nowhere.yaml'], 2, /nowhere/],
    ['no ops agent', ['rollback', '--json', '--socket', '/nowhere.sock'], 1, /nowhere/],
    [
      'a checksum that is none',
      ['upgrade', '--json', '--version', 'v', '--source', '/a', '--sha256', 'x'],
      2,
      /sha256/,
    ],
    ['no targets', ['rollout', '--json', '--targets', '/nowhere.yaml'], 2, /nowhere/],
    [
      'an agent that cannot be reached',
      ['serve-echo', '--json', '-s', 'x', '--transport', 'tcp', '--agent', 'tcp://127.0.0.1:1'],
      1,
      /./,
    ],
  ])('%s', async (_what, args, code, text) => {
    const command = new RunningProcess('command', commandLine, args);
    expect(await command.over()).toEqual({ code, signal: null });
    expect(command.stderr).toBe('');
    expect(command.stdout).toMatch(/^\{.*\}\n$/);
    const { error, exitCode } = JSON.parse(command.stdout) as { error: string; exitCode: number };
    expect(error).toMatch(text);
    expect(error).not.toMatch(/^error:/);
    expect(exitCode).toBe(code);
  });

  it('a failed call, with its status beside', async () => {
    const command = new RunningProcess('call', commandLine, ['call', 'ledger', 'fail', '--json', ...link]);
    expect((await command.over()).code).toBe(1);
    expect(JSON.parse(command.stdout)).toMatchObject({
      ...{ error: evilText, exitCode: 1, status: 'NOT_FOUND', mayHaveRun: true },
    });
    expect(command.stdout.trimEnd()).not.toMatch(obeyed);
  });
});

describe('names that others chose', () => {
  it.each([
    ['status', () => ['status', ...admin]],
    ['status --json', () => ['status', '--json', ...admin]],
    ['top', () => ['top', '--once', '--interval', '0.05', ...admin]],
    ['top --json', () => ['top', '--once', '--json', '--interval', '0.05', ...admin]],
  ])('are escaped by %s', async (_name, args) => {
    const { code, stdout } = await inShell(plain, args());
    expect(code).toBe(0);
    expect(stdout).toContain('shop\\u001b[2J\\u202e\\nready\\u009b31m');
    expect(stdout.replaceAll('\n', '')).not.toMatch(obeyed);
    expect(stdout.split('\n').filter((line) => line.startsWith('ready'))).toHaveLength(
      args()[0] === 'status' && !args().includes('--json') ? 1 : 0,
    );
  });

  it('are escaped where a call fails with a text of the server', async () => {
    const { code, stderr } = await inShell(plain, ['call', 'ledger', 'fail', ...link]);
    expect(code).toBe(1);
    expect(stderr).toBe(
      'ringside: NOT_FOUND: no such \\u001b]0;owned\\u0007thing\\nringside: OK (it may have run)\n',
    );
  });

  it('are escaped in the log and in what the admin server shows', async () => {
    await agent.logged('the link', ({ msg, app }) => msg === 'link opened' && app === evilApp);
    expect(agent.process.stdout.replaceAll('\n', '')).not.toMatch(obeyed);
    const links = await (await fetch(`${agent.adminUrl}/links`)).text();
    expect(links).toContain('shop\\u001b[2J\\u202e');
    expect(links.replaceAll('\n', '')).not.toMatch(obeyed);
  });

  it('reach a pipe as they came: a body is the caller’s', async () => {
    const { stdout } = await inShell(plain, ['call', 'ledger', 'echo', '-b', 'a\u001b[31mb', ...link]);
    expect(stdout).toBe('a\u001b[31mb');
  });
});

describe('agent --check', () => {
  const check = (filter: string): Promise<Outcome> => {
    const module = join(mesh.directory, 'filter.mjs');
    const config = join(mesh.directory, 'checked.yaml');
    writeFileSync(module, filter);
    writeFileSync(config, JSON.stringify({ filters: [{ module }] }));
    return inShell(plain, ['agent', '--check', '--config', config]);
  };

  it('loads the filters and ends, whatever they have begun', async () => {
    const good = `setInterval(() => {}, 1000); export default { name: 'good', onRequest() {} };`;
    expect(await check(good)).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('is valid') as string,
    });
  });

  it.each([
    ['does not parse', 'export default {', /does not load/],
    ['is none', 'export default 7;', /onRequest/],
    ['throws and goes on', `setInterval(() => {}, 1000); throw new Error('no database');`, /no database/],
  ])('exits 2 where one %s', async (_what, filter, text) => {
    const { code, stderr } = await check(filter);
    expect(code).toBe(2);
    expect(stderr).toMatch(text);
    expect(stderr).toContain('filter.mjs');
  });
});

describe('doctor', () => {
  const nobody = 65_534;
  const asRoot = process.getuid?.() === 0;
  if (!asRoot) console.warn('SKIPPED: only root can look at an agent as another user');

  it('opens a link to see whether an application would get one', async () => {
    const { code, stdout } = await inShell(plain, ['doctor', '--json', ...link]);
    expect(code).toBe(0);
    const { findings } = JSON.parse(stdout) as { findings: { check: string; found: string }[] };
    expect(findings.find(({ check }) => check === 'agent')?.found).toBe('answers over shm');
  });

  it('knows an agent at a port', async () => {
    const { stdout } = await inShell(plain, [
      'doctor',
      '--json',
      '--agent',
      `tcp://127.0.0.1:${agent.loopback}`,
    ]);
    const { findings } = JSON.parse(stdout) as { findings: { check: string; found: string }[] };
    expect(findings.find(({ check }) => check === 'agent')?.found).toBe('answers over tcp');
  });

  it.skipIf(!asRoot)('says to another user what keeps him out, and exits 1', async () => {
    const doctor = new RunningProcess('doctor', commandLine, ['doctor', '--json', ...link], { uid: nobody });
    expect((await doctor.over()).code).toBe(1);
    expect(doctor.stderr).toBe('');
    const { findings } = JSON.parse(doctor.stdout) as {
      findings: { check: string; severity: string; found: string; advice: string }[];
    };
    const socket = findings.find(({ check }) => check === 'agent socket');
    expect(socket).toMatchObject({ severity: 'fail' });
    expect(socket?.found).toMatch(/is closed, mode 700, owner 0/);
    expect(socket?.advice).toContain('socket.allowUids');
  });
});

describe('bash', () => {
  /** What bash offers for the last of these words. */
  const offered = async (...words: string[]): Promise<string[]> => {
    const script = `eval "$('${process.execPath}' '${commandLine}' completion bash)"
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _ringside; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await bash(script);
    expect(stderr).toBe('');
    return stdout.split('\n').filter((word) => word !== '');
  };

  it('completes commands, options and their values', async () => {
    expect(await offered('ringside', 'ro')).toEqual(['rollback', 'rollout']);
    expect(await offered('ringside', '')).not.toContain('demo-server');
    expect(await offered('ringside', 'top', '--i')).toEqual(['--interval']);
    expect(await offered('ringside', 'call', 'a', 'b', '--transport', 's')).toEqual(['shm']);
    expect(await offered('ringside', 'agent', '--log-format', '')).toEqual(['json', 'pretty']);
    expect(await offered('ringside', 'completion', 'f')).toEqual(['fish']);
  });
});
