// `ringside upgrade` against one ops agent, `ringside rollout` against ten of which one is bad: real ops agents with real agents that have nothing
// to do, some over their unix socket, some over TCP.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signatureOf } from '../../src/ops/signature.js';
import { commandLine } from '../support/agent-process.js';
import { KeptMesh } from '../support/kept-mesh.js';
import type { OpsProcess } from '../support/ops-process.js';
import { RunningProcess } from '../support/running-process.js';
import { inTime } from '../support/until.js';
import { archiveOf, launchers } from '../support/version-archive.js';
import type { Archive } from '../support/version-archive.js';

const patienceMs = 110_000;
const testMs = 120_000;
const token = 'a-token-of-the-test';

async function command(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = new RunningProcess(`ringside ${args[0]}`, commandLine, args);
  // A rollout is many handoffs and their probations, on a machine that may be busy.
  const { code } = await inTime(`the end of ${run.name}`, run.ended, patienceMs, () => run.output);
  return { code, stdout: run.stdout, stderr: run.stderr };
}

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

const wanted = ({ version, source, sha256 }: Archive): string[] => [
  '--source',
  source,
  '--sha256',
  sha256,
  '--version',
  version,
];
const signed = (archive: Archive): string[] => [
  ...wanted(archive),
  '--signature',
  signatureOf(archive.version, archive.sha256, privateKey),
];

describe('ringside upgrade', { timeout: testMs }, () => {
  const mesh = new KeptMesh();
  let ops: OpsProcess;
  beforeAll(async () => {
    const key = join(mesh.directory, 'key.pem');
    writeFileSync(key, publicKey.export({ type: 'spki', format: 'pem' }));
    const http = { host: '127.0.0.1', port: 0, token };
    ops = await mesh.keep('one', { http, versions: { publicKey: key } });
  });
  afterAll(() => mesh.close());

  it('tells what moved, and by its code how it ended', async () => {
    const good = await archiveOf(mesh.directory, 'good');
    const another = await archiveOf(mesh.directory, 'another', '// another');
    // Of another archive, and of this one as another version: an old release that somebody calls a new one.
    const wrong = [
      signatureOf('good', another.sha256, privateKey),
      signatureOf('old', good.sha256, privateKey),
    ];
    for (const signature of [[], ...wrong.map((text) => ['--signature', text])]) {
      const refused = await command('upgrade', ...wanted(good), ...signature, '--socket', ops.opsSocket);
      expect(refused).toMatchObject({ code: 1 });
      expect(refused.stderr).toContain('the signature does not fit');
    }
    const there = await command('upgrade', ...signed(good), '--socket', ops.opsSocket);
    expect(there).toMatchObject({ code: 0 });
    expect(there.stdout).toMatch(/^version good serves\n {2}stood still for \d+\.\d\d ms; moved 0 links/);

    const url = ['--url', `http://127.0.0.1:${ops.port}`, '--token', token];
    const again = await command('upgrade', ...signed(good), ...url);
    expect(again).toMatchObject({ code: 1, stderr: 'ringside: version good is the current one\n' });

    const crashing = await archiveOf(mesh.directory, 'crashing', launchers.crashing);
    const failed = await command('upgrade', ...signed(crashing), ...url);
    expect(failed).toMatchObject({ code: 1 });
    expect(failed.stdout).toContain(
      'failed, the agent that ran runs on: the agent of version crashing ended with code 1',
    );

    const unwell = await archiveOf(mesh.directory, 'unwell', launchers.unwell);
    const back = await command('upgrade', ...signed(unwell), ...url, '--json');
    expect(back).toMatchObject({ code: 3 });
    const steps = back.stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { step: string }).step);
    expect([...new Set(steps)]).toEqual(
      expect.arrayContaining(['starting', 'handing over', 'probation', 'rolling back', 'rolled-back']),
    );

    const rollback = await command('rollback', '--socket', ops.opsSocket);
    expect(rollback).toMatchObject({ code: 0 });
    expect(rollback.stdout).toContain('version built-in serves');
    expect((await ops.status()).current).toBe('built-in');
  });

  it.each([
    [
      'no such version name',
      ['--version', '../x', '--source', '/x', '--sha256', 'ab'.repeat(32)],
      2,
      '--version: allowed',
    ],
    ['no hash', ['--version', 'x', '--source', '/x', '--sha256', 'abc'], 2, '--sha256: allowed: 64'],
    [
      'no token',
      ['--version', 'x', '--source', '/x', '--sha256', 'ab'.repeat(32), '--url', 'http://127.0.0.1:1'],
      2,
      'needs the token',
    ],
    [
      'nobody there',
      ['--version', 'x', '--source', '/x', '--sha256', 'ab'.repeat(32), '--socket', '/nowhere/x.sock'],
      1,
      'no ops agent answers',
    ],
  ])('%s', async (_what, args, code, said) => {
    const run = await command('upgrade', ...args);
    expect(run.code).toBe(code);
    expect(run.stderr).toContain(said);
  });

  it('is refused over TCP without the token', async () => {
    const url = `http://127.0.0.1:${ops.port}/v1/status`;
    for (const authorization of ['', 'Bearer wrong', `Basic ${token}`]) {
      const response = await fetch(url, { headers: { authorization } });
      expect(response.status).toBe(401);
      expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    }
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    expect(response.status).toBe(200);
  });
});

describe('ringside rollout over ten ops agents with a bad one', { timeout: testMs }, () => {
  const mesh = new KeptMesh();
  const all: OpsProcess[] = [];
  let targets: string;
  let archive: Archive;
  let state: string;

  beforeAll(async () => {
    for (let i = 0; i < 10; i += 2) {
      // Two at a time: this machine may have no more processors.
      const config = { probation: { seconds: 0.2 }, http: { host: '127.0.0.1', port: 0, token } };
      all.push(...(await Promise.all([mesh.keep(`pod-${i}`, config), mesh.keep(`pod-${i + 1}`, config)])));
    }
    targets = join(mesh.directory, 'hosts.yaml');
    const list = all.map(({ name, opsSocket, port }, i) =>
      i % 2 === 0 ? { name, socket: opsSocket } : { name, url: `http://127.0.0.1:${port}` },
    );
    writeFileSync(targets, JSON.stringify({ token, targets: list }));
    state = join(mesh.directory, 'state.json');
    archive = await archiveOf(
      mesh.directory,
      'v2',
      `const { existsSync } = await import('node:fs');
      if (process.argv.join().includes('/pod-3/') && !existsSync(${JSON.stringify(join(mesh.directory, 'cured'))})) {
        process.stderr.write('not on this one');
        process.exit(1);
      }`,
    );
  }, testMs);
  afterAll(() => mesh.close(), testMs);

  const states = (): Record<string, { state: string; detail?: string }> =>
    (
      JSON.parse(readFileSync(state, 'utf8')) as {
        targets: Record<string, { state: string; detail?: string }>;
      }
    ).targets;
  const current = async (): Promise<string[]> =>
    Promise.all(all.map(async (ops) => (await ops.status()).current));

  it('stops at it, and takes the others back', async () => {
    const run = await command(
      ...['rollout', '--targets', targets, '--to', archive.version, '--source', archive.source],
      ...[
        '--sha256',
        archive.sha256,
        '--batch',
        '1,50%,100%',
        '--parallel',
        '2',
        '--state',
        state,
        '--rollback-on-failure',
      ],
    );
    expect(run).toMatchObject({ code: 1, stderr: '' });
    expect(run.stdout).toContain('wave 1 of 3: up to 1 of 10 targets\npod-0: running');
    expect(run.stdout).toContain('wave 2 of 3: up to 5 of 10 targets');
    expect(run.stdout).not.toContain('wave 3');
    expect(run.stdout).toContain(`go on with --resume ${state}`);
    expect(states()['pod-3']).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('not on this one') as unknown,
    });
    expect(states()['pod-0']).toMatchObject({ state: 'undone', detail: 'back at built-in' });
    for (const name of ['pod-5', 'pod-9']) expect(states()[name]).toBeUndefined();
    expect(await current()).toEqual(all.map(() => 'built-in'));
  });

  it('goes on from its file: with one failure allowed all others get it, later the last one too', async () => {
    const file = JSON.parse(readFileSync(state, 'utf8')) as { plan: { maxFailures: number } };
    file.plan.maxFailures = 1;
    writeFileSync(state, JSON.stringify(file));
    const most = await command(
      'rollout',
      '--targets',
      targets,
      '--resume',
      state,
      '--parallel',
      '3',
      '--json',
    );
    const lines = most.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.at(-1)).toEqual({ outcome: 'done', waiting: 0, running: 0, done: 9, failed: 1, undone: 0 });
    expect(most.code).toBe(0);
    expect(await current()).toEqual(all.map(({ name }) => (name === 'pod-3' ? 'built-in' : 'v2')));

    writeFileSync(join(mesh.directory, 'cured'), '');
    const rest = await command('rollout', '--targets', targets, '--resume', state);
    expect(rest).toMatchObject({ code: 0, stderr: '' });
    expect(rest.stdout).toContain('version v2 is rolled out');
    expect(await current()).toEqual(all.map(() => 'v2'));
  });
});
