// Archives that are not what they should be: nothing is written of them, and nothing ever outside of the directory.
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Header } from 'tar';
import type { HeaderData } from 'tar';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { unpack } from '../../src/ops/unpack.js';

let directory: string;
let target: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-unpack-'));
  target = join(directory, 'a', 'target');
  mkdirSync(target, { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true }));

type Entry = Omit<HeaderData, 'size'> & { path: string; text?: string };
const limits = { maxEntries: 20, maxUnpackedBytes: 100_000, maxRatio: 2_000 };
const MIB = 1024 * 1024;

/** A tar file made of headers as they are given, which no well-behaved tool would write. */
function archive(entries: readonly Entry[], tail = Buffer.alloc(1024)): string {
  const blocks = entries.map(({ text = '', ...entry }) => {
    const body = Buffer.from(text);
    const header = new Header({ mode: 0o644, mtime: new Date(0), type: 'File', ...entry, size: body.length });
    header.encode();
    if (!header.block) throw new Error('no header');
    return Buffer.concat([header.block, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
  });
  const file = join(directory, 'archive.tar.gz');
  writeFileSync(file, gzipSync(Buffer.concat([...blocks, tail])));
  return file;
}
const unpackAll = (entries: readonly Entry[]) =>
  unpack(archive(entries), target, limits, new AbortController().signal);

it('unpacks files, directories and links that stay inside', async () => {
  await unpackAll([
    { path: 'package/', type: 'Directory', mode: 0o755 },
    { path: 'package/bin/run.mjs', text: 'run', mode: 0o755 },
    { path: 'package/node_modules/.bin/run', type: 'SymbolicLink', linkpath: '../../bin/run.mjs' },
    { path: 'package/same', type: 'Link', linkpath: 'package/bin/run.mjs' },
  ]);
  expect(readFileSync(join(target, 'package/node_modules/.bin/run'), 'utf8')).toBe('run');
  expect(lstatSync(join(target, 'package/same')).ino).toBe(
    lstatSync(join(target, 'package/bin/run.mjs')).ino,
  );
  expect(lstatSync(join(target, 'package/bin/run.mjs')).mode & 0o777).toBe(0o755);
});

it(
  'passes over what stands behind the end of an archive, however much that is',
  { timeout: 60_000 },
  async () => {
    const file = archive([{ path: 'inside', text: 'x' }], Buffer.alloc(16 * MIB));
    const concat = vi.spyOn(Buffer, 'concat');
    try {
      await unpack(file, target, { ...limits, maxUnpackedBytes: 100 * MIB }, new AbortController().signal);
      // Copied again with each piece of it that comes, it would be thousands of MiB.
      const copiedBytes = concat.mock.results.reduce((sum, { value }) => sum + (value as Buffer).length, 0);
      expect(copiedBytes).toBeLessThan(16 * MIB);
    } finally {
      concat.mockRestore();
    }
    expect(readdirSync(target)).toEqual(['inside']);
  },
);

describe('refuses, and writes nothing of', () => {
  const file = { path: 'inside', text: 'x' };
  it.each<[string, Entry[], string]>([
    ['a path with ..', [file, { path: '../outside', text: 'x' }], 'does not lie inside'],
    ['a path with .. in its middle', [file, { path: 'a/../../outside', text: 'x' }], 'does not lie inside'],
    ['an absolute path', [file, { path: '/tmp/outside', text: 'x' }], 'does not lie inside'],
    ['a link to an absolute path', [{ path: 'l', type: 'SymbolicLink', linkpath: '/etc' }], 'leads out'],
    [
      'a link that climbs out',
      [{ path: 'd/l', type: 'SymbolicLink', linkpath: '../../outside' }],
      'leads out',
    ],
    [
      'a file behind a link',
      [{ path: 'l', type: 'SymbolicLink', linkpath: '.' }, { path: 'l/x' }],
      'through another link',
    ],
    [
      'a link that climbs out through another link',
      [
        { path: 'l', type: 'SymbolicLink', linkpath: '.' },
        { path: 'm', type: 'SymbolicLink', linkpath: 'l/..' },
      ],
      'through another link',
    ],
    ['a hard link to a file outside', [{ path: 'l', type: 'Link', linkpath: '../outside' }], 'leads out'],
    ['a hard link to an absolute path', [{ path: 'l', type: 'Link', linkpath: '/etc/passwd' }], 'leads out'],
    [
      'a hard link to what is not there',
      [{ path: 'l', type: 'Link', linkpath: 'nothing' }],
      'no file of the archive',
    ],
    [
      'a hard link through a link',
      [
        { path: 'd/l', type: 'SymbolicLink', linkpath: '../d' },
        { path: 'h', type: 'Link', linkpath: 'd/l/x' },
      ],
      'through another link',
    ],
    [
      'a name that comes as a link and as a file',
      [{ path: 'l', type: 'SymbolicLink', linkpath: 'x' }, { path: 'l' }],
      'comes twice',
    ],
    [
      'a device',
      [file, { path: 'null', type: 'CharacterDevice', devmaj: 1, devmin: 3 }],
      'is a CharacterDevice',
    ],
    ['a pipe', [{ path: 'pipe', type: 'FIFO' }], 'is a FIFO'],
    ['a program that changes its user', [{ path: 'su', mode: 0o4755, text: 'x' }], 'set-user-id'],
    ['a path of very many names', [{ path: 'd/'.repeat(64) + 'f' }], 'more than 64 names'],
    ['too many entries', Array.from({ length: 21 }, (_, i) => ({ path: `f${i}` })), 'maxEntries, 20'],
    ['too large a file', [{ path: 'f', text: 'x'.repeat(100_001) }], 'maxUnpackedBytes, 100000'],
  ])('%s', async (_what, entries, said) => {
    await expect(unpackAll(entries)).rejects.toThrow(said);
    expect(readdirSync(target)).toEqual([]);
    expect(existsSync(join(directory, 'outside')) || existsSync(join(directory, 'a', 'outside'))).toBe(false);
  });

  it('what grows without end when it is decompressed', async () => {
    const bomb = archive([file], Buffer.alloc(limits.maxUnpackedBytes + limits.maxEntries * 16 * 1024 + 1));
    await expect(unpack(bomb, target, limits, new AbortController().signal)).rejects.toThrow(
      'larger unpacked',
    );
  });

  it('what grows more than it may, as soon as it does', async () => {
    const usual = { maxEntries: 100_000, maxUnpackedBytes: 2_048 * MIB, maxRatio: 100 };
    // 16 KiB that hold 16 MiB, and the same with more of them behind: no more is read than it takes to see it.
    for (const zeros of [archive([], Buffer.alloc(16 * MIB)), archive([file], Buffer.alloc(64 * MIB))]) {
      const refused = unpack(zeros, target, usual, new AbortController().signal);
      await expect(refused).rejects.toThrow('versions.maxRatio, 100 times');
      expect(readdirSync(target)).toEqual([]);
    }
  });

  it.each([
    ['no gzip', Buffer.from('hello')],
    ['a cut archive', gzipSync(Buffer.alloc(10_240, 7)).subarray(0, 20)],
    ['no tar', gzipSync(Buffer.alloc(10_240, 7))],
  ])('%s', async (_what, bytes) => {
    const path = join(directory, 'bad.tar.gz');
    writeFileSync(path, bytes);
    await expect(unpack(path, target, limits, new AbortController().signal)).rejects.toThrow(
      'cannot be unpacked',
    );
  });
});
