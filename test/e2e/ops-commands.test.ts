// `ringside ops status|versions|pack|adopt` on real processes: an archive of this build is built, signed and upgraded to, and an agent that somebody
// started by hand goes over to an ops agent without its applications noticing.
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OpsStatus, Progress, VersionView } from '../../src/ops/api.js';
import { commandLine } from '../support/agent-process.js';
import { KeptMesh } from '../support/kept-mesh.js';
import type { OpsProcess } from '../support/ops-process.js';
import { RunningProcess } from '../support/running-process.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { inTime, until } from '../support/until.js';
import { sha256Of } from '../support/version-archive.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}
async function command(...args: string[]): Promise<Ended> {
  const run = new RunningProcess(`ringside ${args.slice(0, 2).join(' ')}`, commandLine, args);
  const { code } = await inTime(`the end of ${run.name}`, run.ended, 200_000, () => run.output);
  return { code, stdout: run.stdout, stderr: run.stderr };
}

describe('ringside ops', { timeout: 240_000 }, () => {
  const mesh = new KeptMesh();
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  let ops: OpsProcess;
  let archive: { version: string; archive: string; sha256: string; signature: string };
  beforeAll(async () => {
    const pem = join(mesh.directory, 'public.pem');
    writeFileSync(pem, publicKey.export({ type: 'spki', format: 'pem' }));
    ops = await mesh.keep('one', { versions: { publicKey: pem } });
  });
  afterAll(() => mesh.close());

  it('pack builds and signs an archive that runs anywhere on this machine', async () => {
    const key = join(mesh.directory, 'private.pem');
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const output = join(mesh.directory, 'packed.tar.gz');
    const name = `${version}+test`;
    const built = await command('ops', 'pack', '--output', output, '--name', name, '--sign', key, '--json');
    expect(built).toMatchObject({ code: 0, stderr: '' });
    archive = JSON.parse(built.stdout) as typeof archive;
    expect(archive).toMatchObject({ version: name, archive: output, sha256: sha256Of(output) });
    const alone = join(mesh.directory, 'alone');
    mkdirSync(alone);
    expect(spawnSync('tar', ['-xzf', output, '-C', alone]).status).toBe(0);
    const asked = spawnSync(process.execPath, [join(alone, 'dist/cli/main.js'), '--version'], {
      encoding: 'utf8',
    });
    expect(asked.stdout.trim()).toBe(version);

    for (const [args, code, said] of [
      [['--name', '9.9.9'], 1, 'by its package.json, not 9.9.9'],
      [['--name', '../x'], 2, '--name: allowed'],
      [['--sign', join(mesh.directory, 'public.pem')], 2, '--sign: '],
      [['/nowhere'], 1, 'no archive could be built'],
    ] as const) {
      const refused = await command('ops', 'pack', '--output', join(mesh.directory, 'none.tar.gz'), ...args);
      expect(refused.code).toBe(code);
      expect(refused.stderr).toContain(said);
    }
  });

  it('status and versions tell what is kept, before and after an upgrade to that archive', async () => {
    const way = ['--socket', ops.opsSocket];
    const before = await command('ops', 'status', ...way);
    expect(before.stdout).toMatch(
      /^version built-in, before it none\nagent running: process \d+, version built-in\n/,
    );
    const upgraded = await command(
      ...['upgrade', '--version', archive.version, '--source', archive.archive, '--sha256', archive.sha256],
      ...['--signature', archive.signature, ...way],
    );
    expect(upgraded).toMatchObject({ code: 0 });
    const after = await command('ops', 'status', ...way);
    expect(after.stdout).toContain(`version ${archive.version}, before it built-in`);
    expect(after.stdout).toContain(`version ${archive.version} serves`);
    const json = await command('ops', 'status', '--json', ...way);
    expect(JSON.parse(json.stdout) as OpsStatus).toEqual(await ops.status());
    const table = await command('ops', 'versions', ...way);
    expect(table.stdout).toContain(archive.sha256);
    const list = await command('ops', 'versions', '--json', ...way);
    expect(JSON.parse(list.stdout) as VersionView[]).toMatchObject([
      { version: archive.version, current: true },
      { version: 'built-in', previous: true },
    ]);
  });

  it('says in words when nobody answers, when there is nothing to do, and when it is not understood', async () => {
    for (const name of ['status', 'versions', 'adopt']) {
      const nobody = await command('ops', name, '--socket', join(mesh.directory, 'nobody.sock'));
      expect(nobody.code).toBe(1);
      expect(nobody.stderr).toContain('no ops agent answers at');
      const wrong = await command('ops', name, '--url', 'http://127.0.0.1:1');
      expect(wrong).toMatchObject({ code: 2 });
    }
    const kept = await command('ops', 'adopt', '--socket', ops.opsSocket);
    expect(kept).toMatchObject({ code: 1 });
    expect(kept.stderr).toContain('an agent is kept already');
    expect(await command('ops', 'stauts')).toMatchObject({ code: 2 });
  });
});

describe('ringside ops adopt', { timeout: 240_000 }, () => {
  const mesh = new KeptMesh();
  afterAll(() => mesh.close());

  it('takes over an agent that was started by hand, and its applications notice nothing', async () => {
    const ops = mesh.prepare('adopting');
    const byHand = await startedByHand(ops);
    try {
      const server = await mesh.server('server', ops, { service: 'ledger' });
      const client = await mesh.client('client', ops);
      await mesh.reachable(client, 'ledger');
      await client.startLoad({ service: 'ledger', method: 'record', inFlight: 4, prefix: 'adopt-' });
      await client.reached('adopt-', 20);

      await ops.launch();
      // Its own agent cannot listen where that one does.
      await until('an agent that cannot start', async () => (await ops.status()).agent.crashes > 0);
      const adopted = await command('ops', 'adopt', '--socket', ops.opsSocket, '--json');
      expect(adopted).toMatchObject({ code: 0, stderr: '' });
      const steps = adopted.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Progress);
      expect(steps.at(-1)).toMatchObject({ kind: 'adopt', step: 'done', handoff: { links: 4 } });
      expect(await byHand.over()).toEqual({ code: 0, signal: null });
      const { agent, last } = await ops.running();
      expect(agent).toMatchObject({ version: 'built-in', state: 'running' });
      expect(last).toMatchObject({ kind: 'adopt', step: 'done' });

      const { ok } = await client.loadSoFar('adopt-');
      await client.reached('adopt-', ok + 20);
      const summary = await client.endLoad('adopt-');
      expect(failuresOf(summary)).toEqual({});
      const ran = server.ran().filter((id) => id.startsWith('adopt-'));
      expectTruth(summary, [{ ran: () => ran }]);

      // It is kept as any other: found by the next ops agent, and started again.
      await ops.kill();
      await ops.launch();
      expect((await ops.running()).agent.pid).toBe(agent.pid);
    } finally {
      if (byHand.child.exitCode === null) byHand.signal('SIGKILL');
    }
  });

  it('that does not come about leaves the agent that runs alone', async () => {
    const ops = mesh.prepare('waiting', { agent: { startMs: 2_000 } });
    const byHand = await startedByHand(ops);
    try {
      await ops.launch();
      await until('an agent that cannot start', async () => (await ops.status()).agent.crashes > 0);
      byHand.signal('SIGSTOP');
      const failed = await command('ops', 'adopt', '--socket', ops.opsSocket);
      byHand.signal('SIGCONT');
      expect(failed).toMatchObject({ code: 1 });
      expect(failed.stdout).toContain(
        'the agent that ran runs on: the agent of version built-in was not ready',
      );
      await mesh.server('late', ops, { service: 'late' });
      const client = await mesh.client('late-client', ops);
      await mesh.reachable(client, 'late');
      expect(ops.state).toMatchObject({
        candidate: null,
        job: null,
        last: { kind: 'upgrade', adopts: true },
      });
    } finally {
      byHand.signal('SIGTERM');
      await byHand.ended;
    }
  });
});

/** An agent with the configuration that an ops agent is to keep one with. */
async function startedByHand(ops: OpsProcess): Promise<RunningProcess> {
  const byHand = new RunningProcess('by hand', commandLine, [
    'agent',
    '--config',
    join(ops.home, 'agent.yaml'),
  ]);
  await byHand.message('readiness', ({ ready }: { ready: boolean }) => (ready ? true : undefined));
  return byHand;
}
