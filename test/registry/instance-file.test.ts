import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { lstat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  fileNameOf,
  identityOf,
  isInstanceFileName,
  PHASES,
  readInstanceFile,
  removeInstanceFile,
  sameContent,
  stampInstanceFile,
  unchanged,
  writeInstanceFile,
} from '../../src/registry/embedded/instance-file.js';
import { parseInstance } from '../../src/registry/instance.js';
import { instanceOf } from './registry-fixture.js';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ringside-file-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const name = fileNameOf(instanceOf());
const path = () => join(directory, name);
const write = (version: string, phase = 1, wallMs = 1_700_000_000_000) =>
  writeInstanceFile(directory, { instance: instanceOf({ version }), leaseMs: 3_000 }, 0o640, {
    wallMs,
    phase,
  });
const identity = async () => identityOf(await lstat(path(), { bigint: true }));
const versionOf = async () => {
  const read = await readInstanceFile(directory, name);
  return 'file' in read ? read.file.instance.version : read.wrong;
};

describe('the name of an instance file', () => {
  it('is safe for any service, and says what the file is', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.string(),
        fc.string(),
        (service, group, id) => {
          const fileName = fileNameOf({ service, group, id });
          expect(fileName).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,80}\.json$/);
          expect(isInstanceFileName(fileName)).toBe(true);
        },
      ),
    );
    expect(fileNameOf({ service: '../../etc/passwd', group: '', id: 'a' })).toMatch(
      /^etc-passwd-[0-9a-f]{24}\.json$/,
    );
    expect(fileNameOf({ service: '订单', group: '', id: 'a' })).toMatch(/^service-[0-9a-f]{24}\.json$/);
  });

  it('is one for each service, group and id', () => {
    const parts = [
      ['a', 'b', 'c'],
      ['ab', '', 'c'],
      ['a', 'bc', ''],
      ['a', '', 'bc'],
      ['a/b', '', 'c'],
      ['a-b', '', 'c'],
    ] as const;
    expect(new Set(parts.map(([service, group, id]) => fileNameOf({ service, group, id }))).size).toBe(
      parts.length,
    );
  });
});

describe('an instance file', () => {
  it('is read as it was written, with the mode that was asked for', async () => {
    await write('1');
    const read = await readInstanceFile(directory, name);
    expect(read).toMatchObject({ file: { instance: instanceOf({ version: '1' }), leaseMs: 3_000 } });
    expect(statSync(path()).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toEqual([name]);
    expect(Object.isFrozen('file' in read && read.file.instance)).toBe(true);
  });

  it('leaves nothing behind where it cannot be put in place', async () => {
    mkdirSync(path());
    await expect(write('1')).rejects.toThrow();
    expect(readdirSync(directory)).toEqual([name]);
  });

  it('tells a renewal from new content without being read', async () => {
    for (const phase of [0, 1, 77, PHASES - 1]) {
      const written = await write('1', phase);
      for (let ms = 1_000; ms < 40_000; ms += 1_237) {
        await stampInstanceFile(directory, name, { wallMs: 1_700_000_000_000 + ms, phase });
        expect(sameContent(written, await identity())).toBe(true);
      }
      expect(unchanged(written, await identity())).toBe(false);
      const { mtimeNs } = await identity();
      expect(Math.abs(Number(mtimeNs / 1_000_000n) - 1_700_000_039_347)).toBeLessThan(16);
      // The same inode and size, as a file system may give them to the next file.
      const next = (phase + 1) % PHASES;
      await stampInstanceFile(directory, name, { wallMs: 1_700_000_000_000, phase: next });
      expect(sameContent(written, await identity())).toBe(false);
      writeFileSync(path(), readFileSync(path()));
      expect(sameContent(written, await identity())).toBe(false);
    }
  });
});

describe('a file that somebody else wrote', () => {
  const good = (): Record<string, unknown> => ({ format: 1, leaseMs: 3_000, instance: instanceOf() });
  const wrongOf = async (content: string | Buffer) => {
    writeFileSync(path(), content);
    const read = await readInstanceFile(directory, name);
    return 'wrong' in read ? read.wrong : 'good';
  };

  it('is good if it follows the format, whatever it holds besides', async () => {
    expect(
      await wrongOf(JSON.stringify({ ...good(), later: true, instance: { ...instanceOf(), later: {} } })),
    ).toBe('good');
    const read = await readInstanceFile(directory, name);
    expect('file' in read && read.file.instance).toEqual(instanceOf());
  });

  it.each<[string, string | Buffer]>([
    ['is not JSON', ''],
    ['is not JSON', '{"format":1,'],
    ['is not JSON', Buffer.from([0x22, 0xff, 0x22])],
    ['is not an object', 'null'],
    ['is not an object', '"text"'],
    ['has a format this version does not know', '[]'],
    ['has a format this version does not know', JSON.stringify({ ...good(), format: 2 })],
    ['has no leaseMs', JSON.stringify({ ...good(), leaseMs: 1e300 })],
    ['has no leaseMs', JSON.stringify({ ...good(), leaseMs: 'long' })],
    ['instance: ', JSON.stringify({ ...good(), instance: 7 })],
    [
      'host: must be an IPv4 or IPv6 address',
      JSON.stringify({ ...good(), instance: instanceOf({ host: 'evil.example' }) }),
    ],
    ['weight: ', JSON.stringify({ ...good(), instance: instanceOf({ weight: 1e9 }) })],
    [
      'zone: must not contain control characters',
      JSON.stringify({ ...good(), instance: instanceOf({ zone: '\u001b[2J' }) }),
    ],
    [
      'has a name that does not belong to its content',
      JSON.stringify({ ...good(), instance: instanceOf({ id: 'other' }) }),
    ],
    ['is larger than', 'x'.repeat(64 * 1024 + 1)],
    ['is not JSON', '['.repeat(60_000)],
  ])('is refused because it %s', async (wrong, content) => {
    expect(await wrongOf(content)).toContain(wrong);
  });

  it('is neither followed nor waited for where it is no file', async () => {
    writeFileSync(join(directory, 'real'), JSON.stringify(good()));
    symlinkSync('real', path());
    await expect(readInstanceFile(directory, name)).rejects.toThrow('ELOOP');
    rmSync(path());
    execFileSync('mkfifo', [path()]);
    expect(await readInstanceFile(directory, name)).toMatchObject({ wrong: 'is not a regular file' });
  });

  it('never makes an instance that breaks the rules', () => {
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom(...Object.keys(instanceOf())), (value, key) => {
        const parsed = parseInstance({ ...instanceOf(), [key]: value });
        if ('wrong' in parsed) return;
        expect(parsed.instance.port).toBeGreaterThan(0);
        expect(parsed.instance.weight).toBeLessThanOrEqual(1_000_000);
        expect(parsed.instance.service.length).toBeGreaterThan(0);
        expect(Object.keys(parsed.instance)).toEqual(Object.keys(instanceOf()));
      }),
    );
  });

  it('does not reach prototypes through metadata', () => {
    const metadata: unknown = JSON.parse('{"__proto__": {"polluted": "yes"}, "a": "b"}');
    const parsed = parseInstance({ ...instanceOf(), metadata });
    if ('instance' in parsed) expect(Object.getPrototypeOf(parsed.instance.metadata)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('removing a file', () => {
  it('takes what was judged', async () => {
    const written = await write('1');
    expect(await removeInstanceFile(directory, name, (found) => unchanged(found, written))).toBe(true);
    expect(readdirSync(directory)).toEqual([]);
    expect(await removeInstanceFile(directory, name, () => true)).toBe(false);
  });

  it('leaves what was renewed or replaced before', async () => {
    const written = await write('1');
    await write('2', 2);
    expect(await removeInstanceFile(directory, name, (found) => sameContent(found, written))).toBe(false);
    expect(await versionOf()).toBe('2');
  });

  it('puts back what was renewed while it was moved aside', async () => {
    await write('1');
    let looks = 0;
    expect(await removeInstanceFile(directory, name, () => ++looks === 1)).toBe(false);
    expect(looks).toBe(2);
    expect(await versionOf()).toBe('1');
    expect(readdirSync(directory)).toEqual([name]);
  });

  it('does not put it back over what its owner wrote meanwhile', async () => {
    await write('1');
    writeFileSync(
      join(directory, 'next'),
      JSON.stringify({ format: 1, leaseMs: 3_000, instance: instanceOf({ version: '2' }) }),
    );
    let looks = 0;
    const removed = await removeInstanceFile(directory, name, () => {
      looks++;
      if (looks === 2) linkSync(join(directory, 'next'), path());
      return looks === 1;
    });
    expect(removed).toBe(false);
    expect(await versionOf()).toBe('2');
    expect(readdirSync(directory).sort()).toEqual(['next', name].sort());
  });
});
