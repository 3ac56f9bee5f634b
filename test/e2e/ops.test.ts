// The ops agent keeps an agent running and replaces it on command: nobody notices a good upgrade, a bad archive or version harms nobody.
import { readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lookAtAgent } from '../../src/ops/agent-health.js';
import type { AppProcess } from '../support/app-process.js';
import { KeptMesh } from '../support/kept-mesh.js';
import type { OpsProcess, Problem } from '../support/ops-process.js';
import { childrenOf, processExists } from '../support/proc-facts.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';
import { archiveOf, launchers, sha256Of } from '../support/version-archive.js';

const saying = (text: string): unknown => expect.stringContaining(text);

async function load(client: AppProcess, prefix: string): Promise<void> {
  const callOptions = { attachments: { 'work-ms': '3' } };
  await client.startLoad({ service: 'ledger', method: 'record', inFlight: 4, prefix, callOptions });
  await client.reached(prefix, 20);
}

async function unharmed(client: AppProcess, server: AppProcess, prefix: string): Promise<void> {
  const { ok } = await client.loadSoFar(prefix);
  await client.reached(prefix, ok + 20);
  const summary = await client.endLoad(prefix);
  expect(failuresOf(summary)).toEqual({});
  const ran = server.ran().filter((id) => id.startsWith(prefix));
  expectTruth(summary, [{ ran: () => ran }]);
}

describe('an agent that is kept', () => {
  const mesh = new KeptMesh();
  let ops: OpsProcess;
  let server: AppProcess;
  let client: AppProcess;

  beforeAll(async () => {
    ops = await mesh.keep('kept');
    server = await mesh.server('server', ops, { service: 'ledger' });
    client = await mesh.client('client', ops);
    await mesh.reachable(client, 'ledger');
  });
  afterAll(() => mesh.close());

  /** What a failed job must leave as it was. */
  async function untouched(prefix: string, work: () => Promise<unknown>): Promise<void> {
    const before = await ops.status();
    await load(client, prefix);
    await work();
    await unharmed(client, server, prefix);
    const after = await ops.status();
    expect({ ...after.agent, current: after.current }).toEqual({ ...before.agent, current: before.current });
    expect(
      readdirSync(join(ops.home, 'ops', 'versions')).filter((name) => /partial|download/.test(name)),
    ).toEqual([]);
    expect(ops.state).toMatchObject({ candidate: null, job: null });
  }

  /** After a crash: the server is back, and the lease of the dead agent has ended. */
  async function servedAgain(): Promise<void> {
    await mesh.reachable(client, 'ledger');
    await until('one registration', () => mesh.registered().length === 1);
  }

  it('runs beside an ops agent that never loads the addon and that only its user can reach', async () => {
    const { agent, current } = await ops.status();
    expect({ agent, current }).toMatchObject({
      agent: { state: 'running', crashes: 0 },
      current: 'built-in',
    });
    const addon = /ringside\.node/;
    expect(readFileSync(`/proc/${agent.pid}/maps`, 'utf8')).toMatch(addon);
    expect(readFileSync(`/proc/${ops.process.pid}/maps`, 'utf8')).not.toMatch(addon);
    expect(statSync(ops.opsSocket).mode & 0o777).toBe(0o600);
  });

  it('is upgraded and rolled back under load, and nobody notices', async () => {
    const archive = await archiveOf(mesh.directory, 'v2');
    const before = await ops.status();
    const events = client.events.length;
    await load(client, 'steady-');

    const job = await ops.upgrade(archive);
    const { statusCode, answer } = await ops.ask<Problem>('POST', '/v1/upgrade', {
      ...archive,
      version: 'v3',
    });
    expect(statusCode).toBe(409);
    expect(answer).toMatchObject({ status: 409, detail: saying('is under way') });
    const done = await ops.over();
    // Those of the apps, and both ends of the one from this agent to itself.
    expect(done).toMatchObject({ job, step: 'done', version: 'v2', handoff: { links: 4 } });
    expect(done.handoff?.freezeUs).toBeGreaterThan(0);
    const upgraded = await ops.running();
    expect(upgraded).toMatchObject({ current: 'v2', previous: 'built-in', agent: { version: 'v2' } });
    expect(upgraded.agent.pid).not.toBe(before.agent.pid);
    expect(processExists(before.agent.pid as number)).toBe(false);

    expect(await ops.outcome('rollback')).toMatchObject({
      kind: 'rollback',
      step: 'done',
      version: 'built-in',
    });
    expect(await ops.running()).toMatchObject({ current: 'built-in', previous: 'v2' });
    // It is on disk already.
    expect(await ops.outcome(archive)).toMatchObject({ step: 'done' });
    expect(await ops.outcome('rollback')).toMatchObject({ step: 'done' });
    // What has run is what it was.
    const other = await archiveOf(mesh.directory, 'v2', '// other');
    const refused = await ops.ask<Problem>('POST', '/v1/upgrade', other);
    expect(refused).toMatchObject({ statusCode: 409, answer: { detail: saying('and has run') } });
    await unharmed(client, server, 'steady-');
    expect(client.events.length).toBe(events);
    expect(await ops.versions()).toMatchObject([
      { version: 'v2', sha256: archive.sha256, current: false, previous: true },
      { version: 'built-in', current: true, previous: false },
    ]);
  });

  it('goes on when an archive is not what was promised, or is cut off on its way', async () => {
    const archive = await archiveOf(mesh.directory, 'cut');
    await untouched('archives-', async () => {
      const wrong = await ops.outcome({ ...archive, sha256: 'ab'.repeat(32) });
      expect(wrong).toMatchObject({ step: 'failed', detail: saying(archive.sha256) });

      const bytes = readFileSync(archive.source);
      const early = createServer((_request, response) => {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
      });
      await new Promise<void>((resolve) => early.listen(0, '127.0.0.1', resolve));
      const source = `http://127.0.0.1:${(early.address() as AddressInfo).port}/cut.tar.gz`;
      const cut = await ops.outcome({ ...archive, source });
      early.close();
      expect(cut).toMatchObject({ step: 'failed', detail: saying('the download failed') });

      // A cut archive whose checksum fits is refused as well.
      truncateSync(archive.source, bytes.length - 20);
      const short = await ops.outcome({ ...archive, sha256: sha256Of(archive.source) });
      expect(short).toMatchObject({ step: 'failed', detail: saying('cannot be unpacked') });
    });
  });

  it('goes on when a version cannot run here, is another one, or does not know the configuration', async () => {
    const refusing = await archiveOf(mesh.directory, 'refusing', launchers.good, {
      check: `process.stderr.write('no such field'); process.exit(2);`,
    });
    const foreign = await archiveOf(mesh.directory, 'foreign', launchers.good, {
      files: { 'build/Release/ringside.node': 'of another machine' },
    });
    const older = await archiveOf(mesh.directory, '1.0.0');
    await untouched('checks-', async () => {
      for (const [archive, said] of [
        [refusing, "cannot use the agent's configuration: it ended with code 2: no such field"],
        [foreign, 'has an addon that cannot be loaded here'],
        [{ ...older, version: '2.0.0' }, 'holds version "1.0.0" by its package.json, not 2.0.0'],
      ] as const)
        expect(await ops.outcome(archive)).toMatchObject({ step: 'failed', detail: saying(said) });
      const names = (await ops.versions()).map(({ version }) => version);
      for (const name of ['refusing', 'foreign', '1.0.0', '2.0.0']) expect(names).not.toContain(name);
    });
  });

  it('is started again when it crashes while an archive is on its way, whatever that does', async () => {
    const zeros = join(mesh.directory, 'zeros.tar.gz');
    writeFileSync(zeros, gzipSync(Buffer.alloc(16 * 1024 * 1024)));
    const archive = await archiveOf(mesh.directory, 'on-its-way');
    let answer: (bytes: Buffer) => void = () => undefined;
    const server = createServer((_request, response) => {
      answer = (bytes) => response.end(bytes);
      response.writeHead(200).flushHeaders();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const source = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`;

    const { agent } = await ops.status();
    await ops.upgrade({ ...archive, source });
    const fetching = await until('the process that fetches it', () =>
      childrenOf(ops.process.pid).find((pid) => pid !== agent.pid),
    );
    // As one that hangs, or is busy for ever.
    process.kill(fetching, 'SIGSTOP');
    process.kill(agent.pid as number, 'SIGKILL');
    const next = await until('another process', async () => {
      const status = await ops.status();
      return status.agent.pid !== agent.pid && status.agent.state === 'running' ? status : undefined;
    });
    expect(next.job).toMatchObject({ version: 'on-its-way', step: 'downloading' });
    process.kill(fetching, 'SIGCONT');
    await until('the request', () => answer.length > 0);
    answer(readFileSync(zeros));
    expect(await ops.over()).toMatchObject({ step: 'failed', detail: saying('sha256') });
    server.close();

    const padding = { version: 'zeros', source: zeros, sha256: sha256Of(zeros) };
    expect(await ops.outcome(padding)).toMatchObject({ step: 'failed', detail: saying('versions.maxRatio') });
    expect((await ops.running()).agent.pid).toBe(next.agent.pid);
    await servedAgain();
  });

  it('goes on when a version crashes at its start, and says what it said', async () => {
    const archive = await archiveOf(mesh.directory, 'crashing', launchers.crashing);
    await untouched('crashing-', async () => {
      expect(await ops.outcome(archive)).toMatchObject({
        step: 'failed',
        detail: 'the agent of version crashing ended with code 1: this version is broken',
      });
      // It has never run: the one that mends it may bear its name, also when that is broken again.
      const again = await archiveOf(mesh.directory, 'crashing', `${launchers.crashing} // again`);
      expect(again.sha256).not.toBe(archive.sha256);
      expect(await ops.outcome(again)).toMatchObject({ step: 'failed', detail: saying('is broken') });
      const { sha256 } = (await ops.versions()).find(({ version }) => version === 'crashing') ?? {};
      expect(sha256).toBe(again.sha256);
    });
  });

  it.each([
    ['is unwell', launchers.unwell, 'unwell 3 times in a row'],
    ['is not there any more', launchers.dying, 'ended with code 3'],
  ])('is the former version again when the new one %s', async (what, launcher, why) => {
    const archive = await archiveOf(mesh.directory, `on-probation-${what.replaceAll(' ', '-')}`, launcher);
    const { current } = await ops.status();
    const alive = launcher === launchers.unwell;
    if (alive) await load(client, 'probation-');
    expect(await ops.outcome(archive)).toMatchObject({
      step: 'rolled-back',
      detail: saying(why),
    });
    // Handed back: again nobody noticed. A process that died took its links with it, as any crash does.
    if (alive) await unharmed(client, server, 'probation-');
    expect((await ops.running()).current).toBe(current);
    await servedAgain();
  });

  it('is the former version again when too many requests fail', async () => {
    const archive = await archiveOf(mesh.directory, 'failing');
    await ops.upgrade(archive);
    await client.startLoad({ service: 'nobody', method: 'x', inFlight: 2, prefix: 'nobody-' });
    const { step, detail } = await ops.over();
    await client.endLoad('nobody-');
    expect({ step, detail }).toMatchObject({
      step: 'rolled-back',
      detail: saying('requests failed'),
    });
  });

  it('is started again when it crashes', async () => {
    const { agent } = await ops.status();
    process.kill(agent.pid as number, 'SIGKILL');
    const next = await until('another process', async () => {
      const status = await ops.status();
      return status.agent.pid !== agent.pid && status.agent.state === 'running' ? status : undefined;
    });
    expect(next.agent.crashes).toBeGreaterThan(0);
    await servedAgain();
  });
});

it('an agent without an admin server is upgraded all the same; only its process is watched', async () => {
  const mesh = new KeptMesh();
  try {
    const ops = await mesh.keep('quiet', {}, { admin: { enabled: false } });
    expect((await ops.status()).agent.admin).toBeNull();
    const good = await archiveOf(mesh.directory, 'good');
    expect(await ops.outcome(good)).toMatchObject({ step: 'done', handoff: { links: 0 } });
    const crashing = await archiveOf(mesh.directory, 'crashing', launchers.crashing);
    expect(await ops.outcome(crashing)).toMatchObject({ step: 'failed', detail: saying('is broken') });
    expect(await ops.running()).toMatchObject({ current: 'good', agent: { admin: null } });
  } finally {
    await mesh.close();
  }
});

describe('an ops agent that is killed', () => {
  const mesh = new KeptMesh();
  let ops: OpsProcess;
  let server: AppProcess;
  let client: AppProcess;

  beforeAll(async () => {
    // Long enough to be seen by who asks now and then.
    ops = await mesh.keep('killed', { probation: { seconds: 2, everyMs: 1_000 } });
    server = await mesh.server('server', ops, { service: 'ledger' });
    client = await mesh.client('client', ops);
    await mesh.reachable(client, 'ledger');
  });
  afterAll(() => mesh.close());

  it('leaves the agent running, and the next one goes on with it', async () => {
    const { agent } = await ops.status();
    await load(client, 'alone-');
    await ops.kill();
    await ops.launch();
    expect((await ops.running()).agent).toMatchObject({ pid: agent.pid, version: 'built-in' });
    await unharmed(client, server, 'alone-');
  });

  it('while it downloads: that upgrade has failed, nothing of it is left', async () => {
    const archive = await archiveOf(mesh.directory, 'stalled');
    const bytes = readFileSync(archive.source);
    const slow = createServer((_request, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 100));
    });
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
    const { agent } = await ops.status();
    const port = (slow.address() as AddressInfo).port;
    const job = await ops.upgrade({ ...archive, source: `http://127.0.0.1:${port}/x` });
    const directory = join(ops.home, 'ops', 'versions');
    await until('a part of the archive', () => readdirSync(directory).includes('stalled.download'));
    await ops.kill();
    slow.closeAllConnections();
    slow.close();
    await ops.launch();
    const { last, agent: after } = await ops.running();
    expect(last).toMatchObject({ job, step: 'failed', detail: saying('while downloading') });
    expect(after.pid).toBe(agent.pid);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('while the new agent starts: the next one waits for it, and finishes the upgrade', async () => {
    const gate = join(mesh.directory, 'gate');
    const archive = await archiveOf(mesh.directory, 'gated', launchers.waitingFor(gate));
    const { agent } = await ops.status();
    await load(client, 'gated-');
    const job = await ops.upgrade(archive);
    await ops.step('handing over');
    const { candidate } = ops.state;
    await ops.kill();
    await ops.launch();
    expect((await ops.status()).job).toMatchObject({ job, step: 'handing over' });
    writeFileSync(gate, '');
    expect(await ops.over()).toMatchObject({ job, step: 'done' });
    const after = await ops.running();
    expect(after).toMatchObject({
      current: 'gated',
      previous: 'built-in',
      agent: { pid: candidate?.process?.pid },
    });
    expect(processExists(agent.pid as number)).toBe(false);
    // Told to nobody who still lived: where its admin server listens, and what moved.
    expect(after.last?.handoff?.links).toBe(4);
    expect(await lookAtAgent(after.agent.admin as string, 10_000)).toMatchObject({ ready: true });
    await unharmed(client, server, 'gated-');
  });

  it('while the new agent starts and dies: the old one serves on', async () => {
    const archive = await archiveOf(
      mesh.directory,
      'late',
      launchers.waitingFor(join(mesh.directory, 'never')),
    );
    const { agent, current } = await ops.status();
    await load(client, 'late-');
    await ops.upgrade(archive);
    await ops.step('handing over');
    const { candidate } = ops.state;
    await ops.kill();
    process.kill(candidate?.process?.pid as number, 'SIGKILL');
    await ops.launch();
    expect(await ops.over()).toMatchObject({ step: 'failed' });
    expect(await ops.running()).toMatchObject({ current, agent: { pid: agent.pid } });
    await unharmed(client, server, 'late-');
  });

  it('during the probation: the next one goes on with it, and rolls back what fails', async () => {
    const archive = await archiveOf(mesh.directory, 'probed', launchers.unwell);
    const { current } = await ops.status();
    await load(client, 'probed-');
    await ops.upgrade(archive);
    await ops.step('probation');
    await ops.kill();
    await ops.launch();
    expect(await ops.over()).toMatchObject({ step: 'rolled-back' });
    expect((await ops.running()).current).toBe(current);
    await unharmed(client, server, 'probed-');
  });

  it('or asked to end, while the new agent starts: both end, and the next one begins where the upgrade did', async () => {
    const archive = await archiveOf(
      mesh.directory,
      'asked',
      launchers.waitingFor(join(mesh.directory, 'never')),
    );
    const { agent, current } = await ops.status();
    const job = await ops.upgrade(archive);
    await ops.step('handing over');
    const { candidate } = ops.state;
    expect(await ops.process.end()).toMatchObject({ code: 0 });
    for (const pid of [agent.pid, candidate?.process?.pid]) expect(processExists(pid as number)).toBe(false);
    expect(ops.state).toMatchObject({ agent: null, candidate: null });
    await ops.launch();
    expect(await ops.over()).toMatchObject({ job, step: 'failed', detail: saying('while handing over') });
    expect((await ops.running()).current).toBe(current);
    await mesh.reachable(client, 'ledger');
  });
});
