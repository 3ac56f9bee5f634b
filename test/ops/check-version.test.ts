// A version is asked before it is started: its name, its addon, the agent's configuration; in processes that do not outlive the question.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkVersion, mustBeNamed } from '../../src/ops/check-version.js';
import { processExists } from '../support/proc-facts.js';
import { until } from '../support/until.js';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ringside-check-'))));
afterEach(() => rmSync(directory, { recursive: true }));

const manifest = (version: unknown): void =>
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ version }));
/** Asks a version whose program is `script`. */
const check = (script: string, checkMs = 60_000, signal = new AbortController().signal): Promise<void> =>
  checkVersion(
    { version: '1.4.0', directory, command: [process.execPath, '-e', script, '--'] },
    { agentConfig: '/etc/agent.yaml', checkMs },
    signal,
  );

describe('its name', () => {
  it.each([
    ['1.4.0', '1.4.0'],
    ['v1.4.0', '1.4.0'],
    ['1.4.0+arm64', '1.4.0'],
    ['1.4.0-rc.1', '1.4.0-rc.1'],
  ])('%s is that of version %s', (name, version) => {
    manifest(version);
    mustBeNamed(name, directory);
  });

  it.each([
    ['1.5.0', '1.4.0'],
    ['1.4.0-rc.1', '1.4.0'],
    ['v', '1.4.0'],
    ['1.4', '1.4.0'],
  ])('%s is not that of version %s', (name, version) => {
    manifest(version);
    expect(() => mustBeNamed(name, directory)).toThrow(
      `holds version "${version}" by its package.json, not ${name}`,
    );
  });

  it('needs a package.json with one', () => {
    expect(() => mustBeNamed('1.4.0', directory)).toThrow('there is no package.json');
    manifest(undefined);
    expect(() => mustBeNamed('1.4.0', directory)).toThrow('has no version');
    writeFileSync(join(directory, 'package.json'), '{');
    expect(() => mustBeNamed('1.4.0', directory)).toThrow('cannot be read');
  });
});

describe('a version', () => {
  beforeEach(() => manifest('1.4.0'));
  const addon = (): string => {
    mkdirSync(join(directory, 'build', 'Release'), { recursive: true });
    return join(directory, 'build', 'Release', 'ringside.node');
  };

  it('is asked with its own command about the configuration', async () => {
    await check(
      `if (process.argv.slice(1).join(' ') !== 'agent --config /etc/agent.yaml --check') process.exit(9)`,
    );
    await expect(check(`console.error('inbound.porst: unknown'); process.exit(2)`)).rejects.toThrow(
      /^version 1.4.0 cannot use the agent's configuration: it ended with code 2: inbound.porst: unknown$/,
    );
    const missing = { version: '1.4.0', directory, command: ['/does/not/exist'] };
    await expect(
      checkVersion(missing, { agentConfig: null, checkMs: 60_000 }, new AbortController().signal),
    ).rejects.toThrow('it cannot be run: spawn /does/not/exist ENOENT');
  });

  it('whose addon does not load here is refused, and its program is not run', async () => {
    writeFileSync(addon(), 'of another machine');
    chmodSync(addon(), 0o755);
    const mark = join(directory, 'ran');
    const ran = `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '')`;
    await expect(check(ran)).rejects.toThrow(
      /has an addon that cannot be loaded here: it ended with code 1: [^]*ringside.node/,
    );
    expect(existsSync(mark)).toBe(false);
    copyFileSync(new URL('../../build/Release/ringside.node', import.meta.url), addon());
    await check(ran);
    expect(existsSync(mark)).toBe(true);
  });

  it('that needs an addon and has none is refused', async () => {
    mkdirSync(join(directory, 'dist', 'native'), { recursive: true });
    await expect(check('')).rejects.toThrow('has no addon in build/Release; `ringside ops pack`');
  });

  it('that does not answer is ended, with what it has started', async () => {
    const file = join(directory, 'pid');
    const script = `
      const { spawn } = require('node:child_process');
      const child = spawn('sleep', ['600'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(file)}, String(child.pid));
      setInterval(() => undefined, 60_000);`;
    await expect(check(script, 1_000)).rejects.toThrow('it did not end within versions.checkMs, 1000 ms');
    rmSync(file, { force: true });
    const off = new AbortController();
    const asked = check(script, 60_000, off.signal);
    await until('its child', () => existsSync(file));
    off.abort();
    await expect(asked).rejects.toThrow('called off');
    const pid = Number(readFileSync(file, 'utf8'));
    await until('its child to be gone', () => !processExists(pid));
  });

  it('that leaves a process behind is not waited for', async () => {
    const pidFile = join(directory, 'left');
    await check(`
      const { spawn } = require('node:child_process');
      const child = spawn('sleep', ['600'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
      child.unref();`);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    await until('it to be gone', () => !processExists(pid));
  });
});
