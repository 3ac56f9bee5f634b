// What the ops agent keeps on disk, and how it knows a process again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AgentRun } from '../../src/ops/agent-run.js';
import { BUILT_IN } from '../../src/ops/api.js';
import { findMarked, identityOf, isRunning, RUN_MARK } from '../../src/ops/process-identity.js';
import type { ProcessIdentity } from '../../src/ops/process-identity.js';
import { RunFiles } from '../../src/ops/run-files.js';
import { StateFile } from '../../src/ops/state-file.js';
import { Versions } from '../../src/ops/versions.js';
import { until } from '../support/until.js';

let directory: string;
let start: { run: string; version: string; directory: string };
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-disk-'));
  start = { run: 'r', version: 'v', directory };
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('the state', () => {
  it('is the same after a restart, and only this user reads it', () => {
    const state = new StateFile(directory);
    expect(state.now).toMatchObject({ current: BUILT_IN, previous: null, agent: null, job: null });
    const agent = { run: 'r', version: 'v', process: { pid: 7, startTicks: '5', bootId: 'b' }, admin: null };
    state.set({ current: 'v', agent });
    expect(new StateFile(directory).now).toEqual(state.now);
    expect(statSync(join(directory, 'state.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['state.json']);
  });

  it.each(['', '{', '{"format":2}', '{"format":1,"current":7}'])(
    'that cannot be understood is not guessed at: %j',
    (text) => {
      writeFileSync(join(directory, 'state.json'), text);
      expect(() => new StateFile(directory)).toThrow('cannot be understood');
    },
  );
});

it('a state of the first release is read, and one that this release writes is read by that', () => {
  const state = new StateFile(directory);
  const before = { current: BUILT_IN, previous: null };
  const job = { job: 'j', kind: 'upgrade', version: 'v', step: 'checking', at: 'now', before } as const;
  state.set({ job });
  const file = join(directory, 'state.json');
  const { neverRan: _, ...written } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  expect(written).toMatchObject({ format: 1, job: { step: 'unpacking' } });
  writeFileSync(file, JSON.stringify(written));
  expect(new StateFile(directory).now.neverRan).toEqual([]);
});

describe('a disk that is full', () => {
  // The file beside it, which every write begins with, cannot be made where a directory has its name.
  const fill = (): void => void mkdirSync(join(directory, 'state.json.new'));
  const makeRoom = (): void => rmSync(join(directory, 'state.json.new'), { recursive: true });

  it('begins nothing, and forgets nothing that has happened', () => {
    vi.useFakeTimers();
    try {
      const troubles: Error[] = [];
      const state = new StateFile(directory, (error) => troubles.push(error));
      state.set({ current: 'v1' });
      fill();
      expect(() => state.set({ current: 'v2' })).toThrow(/state\.json cannot be written: EISDIR/);
      expect(state.now.current).toBe('v1');
      state.note({ current: 'v2' });
      state.note({ previous: 'v1' });
      expect(state.now).toMatchObject({ current: 'v2', previous: 'v1' });
      vi.advanceTimersByTime(60_000);
      expect(troubles.length).toBeGreaterThan(0);
      expect(new StateFile(directory).now).toMatchObject({ current: 'v1', previous: null });
      makeRoom();
      vi.advanceTimersByTime(5_000);
      expect(new StateFile(directory).now).toEqual(state.now);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('what a run leaves', () => {
  it('of its standard error is the end, and what comes later stands behind that', async () => {
    const write = `const { writeSync } = require('node:fs');
      for (let i = 0; i < 2_000; i++) writeSync(2, 'x'.repeat(1_000) + '\\n');
      process.stdin.on('data', () => undefined);
      process.on('SIGTERM', () => { writeSync(2, 'the reason'); process.exit(7); });
      setInterval(() => undefined, 60_000);`;
    const run = AgentRun.start({ ...start, command: [process.execPath, '-e', write] });
    const file = join(directory, 'r.stderr');
    await until('all to be written and cut', () => {
      const { size } = statSync(file);
      return size === 64 * 1024;
    });
    await run.stop(10_000);
    expect(statSync(file).size).toBe(64 * 1024 + 'the reason'.length);
    expect(run.describeEnd()).toMatch(/^ended with code 7: x+\n(x+\n)*the reason$/);
    run.forget();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('is removed when nobody knows of the run any more', () => {
    RunFiles.removeOthers(join(directory, 'not yet'), []);
    for (const name of ['a.stderr', 'a.ready', 'ab.stderr', 'b.stderr', 'c.ready']) {
      writeFileSync(join(directory, name), '');
    }
    RunFiles.removeOthers(directory, ['a', 'c']);
    expect(readdirSync(directory).sort()).toEqual(['a.ready', 'a.stderr', 'c.ready']);
  });

  it('of what it told is there for who did not start it, and nothing that is not that', async () => {
    const write = `require('node:fs').writeFileSync(process.env.RINGSIDE_READY_FILE, process.argv[1]);
      setInterval(() => undefined, 60_000);`;
    for (const [text, told] of [
      ['{"ready":true,"admin":7,"ports":{},"more":1}', { ready: true, admin: 7 }],
      ['{"ready":true,"admin":null}', { ready: true, admin: null }],
      ['{"ready":true,"admin":"x"}', undefined],
      ['{"ready"', undefined],
    ] as const) {
      const run = AgentRun.start({ ...start, command: [process.execPath, '-e', write, text] });
      await until('the file', () => existsSync(join(directory, 'r.ready')));
      const adopted = AgentRun.adopt('r', 'v', run.identity as ProcessIdentity, directory);
      if (told) expect(await adopted.ready).toEqual(told);
      await run.kill();
      await adopted.ended;
      expect(new RunFiles(directory, 'r').readReady()).toEqual(told);
      run.forget();
    }
  });
});

describe('a process', () => {
  it('is known again by its start, and found by its mark', async () => {
    const child = spawn('sleep', ['60'], { env: { ...process.env, [RUN_MARK]: directory } });
    await once(child, 'spawn');
    const identity = identityOf(child.pid as number);
    if (!identity) throw new Error('it does not run');
    expect(isRunning(identity)).toBe(true);
    expect(isRunning({ ...identity, startTicks: '1' })).toBe(false);
    expect(isRunning({ ...identity, bootId: 'another' })).toBe(false);
    expect(findMarked(directory)).toEqual(identity);
    expect(findMarked(`${directory}x`)).toBeUndefined();
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isRunning(identity)).toBe(false);
    expect(findMarked(directory)).toBeUndefined();
  });
});

describe('versions', () => {
  const install = async (
    versions: Versions,
    version: string,
    installedAt: string,
    manifest: object | string = {},
  ): Promise<void> => {
    const partial = await versions.preparePartial(version);
    const text =
      typeof manifest === 'string' ? manifest : JSON.stringify({ bin: { ringside: 'x.mjs' }, ...manifest });
    writeFileSync(join(partial, 'package.json'), text);
    versions.install(version, { sha256: 'ab', source: '/x', installedAt });
  };

  it('are whole or not there', async () => {
    const versions = new Versions(directory);
    mkdirSync(join(directory, 'half.partial'));
    writeFileSync(join(directory, 'half.download'), '');
    // Its origin was written, and then the machine died.
    writeFileSync(join(directory, 'gone.json'), '{"sha256":"","source":"","installedAt":""}');
    await install(versions, 'v1', '2026-01-01');
    expect(versions.list().map(({ version }) => version)).toEqual(['v1']);
    expect(versions.find('gone')).toBeUndefined();
    expect(versions.find('../v1')).toBeUndefined();
    await versions.removePartial();
    expect(readdirSync(directory).sort()).toEqual(['gone.json', 'v1', 'v1.json']);
    expect(JSON.parse(readFileSync(join(directory, 'v1.json'), 'utf8'))).toMatchObject({ source: '/x' });
  });

  it('are removed when they are old, but for those that are needed', async () => {
    const versions = new Versions(directory);
    for (let i = 1; i <= 5; i++) await install(versions, `v${i}`, `2026-01-0${i}`);
    expect(versions.prune(2, ['v1', BUILT_IN, null])).toEqual(['v3', 'v2']);
    expect(versions.list().map(({ version }) => version)).toEqual(['v5', 'v4', 'v1']);
    expect(existsSync(join(directory, 'v3'))).toBe(false);
  });

  it('are run as their package.json says, or as the configuration does', async () => {
    const versions = new Versions(directory);
    await install(versions, 'v1', '2026-01-01');
    await install(versions, 'out', '2026-01-01', { bin: { ringside: '../v1/x.mjs' } });
    await install(versions, 'none', '2026-01-01', '{}');
    expect(versions.command('v1', null)).toEqual([process.execPath, join(directory, 'v1', 'x.mjs')]);
    expect(versions.command('v1', ['run', '{directory}/y'])).toEqual(['run', join(directory, 'v1', 'y')]);
    expect(() => versions.command('out', null)).toThrow('lies outside');
    expect(() => versions.command('none', null)).toThrow('has no bin.ringside');
    await install(versions, 'large', '2026-01-01', ' '.repeat(1024 * 1024 + 1));
    expect(() => versions.command('large', null)).toThrow('larger than 1 MiB');
    rmSync(join(directory, 'v1', 'package.json'));
    expect(() => versions.command('v1', null)).toThrow('there is no package.json');
    expect(() => versions.command('v9', null)).toThrow('is not installed');
    expect(versions.command(BUILT_IN, null)[1]).toMatch(/dist\/cli\/main\.js$/);
  });

  it('of one name are replaced whole', async () => {
    const versions = new Versions(directory);
    await install(versions, 'v1', '2026-01-01');
    writeFileSync(join(directory, 'v1', 'old'), '');
    await install(versions, 'v1', '2026-01-02');
    expect(versions.list()).toMatchObject([{ version: 'v1', installedAt: '2026-01-02' }]);
    expect(readdirSync(join(directory, 'v1'))).toEqual(['package.json']);
    await versions.removePartial();
    expect(readdirSync(directory).sort()).toEqual(['v1', 'v1.json']);
  });
});
