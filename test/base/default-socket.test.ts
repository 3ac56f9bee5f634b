import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { whyForeignDirectory } from '../../src/base/default-socket.js';

let above: string;
let directory: string;
const why = (): string | undefined => whyForeignDirectory(join(directory, 'agent.sock'));

beforeEach(() => {
  above = mkdtempSync(join(tmpdir(), 'ringside-default-'));
  chmodSync(above, 0o1777);
  directory = join(above, 'ringside-0');
});
afterEach(() => rmSync(above, { recursive: true }));

describe('the directory of a default path, where everybody may make one', () => {
  it('may be missing, or be the own one', () => {
    expect(why()).toBeUndefined();
    mkdirSync(directory, { mode: 0o700 });
    expect(why()).toBeUndefined();
  });

  it('may be written by nobody else', () => {
    mkdirSync(directory);
    for (const mode of [0o777, 0o770, 0o702]) {
      chmodSync(directory, mode);
      expect(why()).toContain(`can be written by others (mode ${mode.toString(8)})`);
    }
    chmodSync(directory, 0o755);
    expect(why()).toBeUndefined();
  });

  it('is no link to somewhere', () => {
    mkdirSync(join(above, 'elsewhere'));
    symlinkSync(join(above, 'elsewhere'), directory);
    expect(why()).toContain('is no directory');
  });

  it('is nothing to worry about where only its owner can make one', () => {
    chmodSync(above, 0o755);
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    expect(why()).toBeUndefined();
  });
});
