import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchConfig } from '../../src/config/watch-config.js';
import type { WatchConfigOptions } from '../../src/config/watch-config.js';

/** Waits for what an event brings about, also on a machine that is busy. */
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

let directory: string;
let file: string;
let apps: string[];
let errors: string[];
let watch: { close(): void } | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-watch-'));
  file = join(directory, 'agent.yaml');
  apps = [];
  errors = [];
  writeFileSync(file, 'app: first');
});
afterEach(() => {
  watch?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Without rechecks unless a test wants them, so that what is seen was seen through events. */
function start(options: Partial<WatchConfigOptions> = {}): void {
  watch = watchConfig(file, {
    onChange: (config) => apps.push(config.app),
    onError: (error) => errors.push(error.message),
    debounceMs: 10,
    recheckMs: 3_600_000,
    ...options,
  });
}

const replace = (text: string): void => {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
};

describe('a watched configuration', () => {
  it('is delivered at once where it differs from what had been read before, and not where it does not', () => {
    start({ known: 'app: first' });
    expect(apps).toEqual([]);
    watch?.close();
    start({ known: 'app: zeroth' });
    expect(apps).toEqual(['first']);
  });

  it('is delivered when it comes where there was none', async () => {
    start({ known: null });
    expect(apps).toEqual(['first']);
    watch?.close();
    unlinkSync(file);
    start({ known: null });
    writeFileSync(file, 'app: second');
    await eventually(() => expect(apps).toEqual(['first', 'second']));
    expect(errors).toEqual([]);
  });

  it('is delivered when it is written in place, replaced, or deleted and made anew', async () => {
    start();
    writeFileSync(file, 'app: second');
    await eventually(() => expect(apps).toEqual(['second']));
    replace('app: third');
    await eventually(() => expect(apps).toEqual(['second', 'third']));
    unlinkSync(file);
    await eventually(() => expect(errors).toEqual([expect.stringContaining('ENOENT')]));
    writeFileSync(file, 'app: fourth');
    await eventually(() => expect(apps.at(-1)).toBe('fourth'));
  });

  it('is delivered when the link that it stands behind is exchanged, as Kubernetes does', async () => {
    for (const name of ['v1', 'v2']) {
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'agent.yaml'), `app: ${name}`);
    }
    unlinkSync(file);
    symlinkSync('v1', join(directory, '..data'));
    symlinkSync(join('..data', 'agent.yaml'), file);
    start();
    symlinkSync('v2', join(directory, '..data.new'));
    renameSync(join(directory, '..data.new'), join(directory, '..data'));
    await eventually(() => expect(apps).toEqual(['v2']));
  });

  it('that is broken is reported once, and what was in force stays', async () => {
    start();
    replace('inbound: {port: -1}');
    await eventually(() =>
      expect(errors).toEqual([expect.stringContaining('inbound.port (line 1, column 17): found -1')]),
    );
    writeFileSync(join(directory, 'other'), 'an event that changes nothing');
    replace('inbound: {port: -1}');
    replace('app: mended');
    await eventually(() => expect(apps).toEqual(['mended']));
    expect(errors).toHaveLength(1);
  });

  it('survives its directory being replaced', async () => {
    start({ recheckMs: 20 });
    renameSync(directory, `${directory}-old`);
    await eventually(() => expect(errors).toHaveLength(1));
    mkdirSync(directory);
    writeFileSync(file, 'app: again');
    await eventually(() => expect(apps).toEqual(['again']));
    expect(errors).toHaveLength(1);
    rmSync(`${directory}-old`, { recursive: true });
  });

  it('says nothing after it was closed', async () => {
    start();
    const second: string[] = [];
    const other = watchConfig(file, {
      onChange: (config) => second.push(config.app),
      onError: () => undefined,
      debounceMs: 10,
    });
    watch?.close();
    replace('app: unseen');
    await eventually(() => expect(second).toEqual(['unseen']));
    other.close();
    expect(apps).toEqual([]);
  });

  it('reports a listener that fails, and goes on', async () => {
    start({
      onChange(config) {
        apps.push(config.app);
        if (config.app === 'second') throw new Error('cannot apply');
      },
    });
    replace('app: second');
    await eventually(() => expect(errors).toEqual(['cannot apply']));
    replace('app: third');
    await eventually(() => expect(apps).toEqual(['second', 'third']));
  });
});
