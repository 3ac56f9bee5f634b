// What an archive holds: every package that is needed at run time, each where who needs it finds the version that it finds today.
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { neededBy, pack } from '../../src/ops/pack.js';

let directory: string;
beforeEach(() => (directory = realpathSync(mkdtempSync(join(tmpdir(), 'ringside-pack-test-')))));
afterEach(() => rmSync(directory, { recursive: true }));

/** Writes the package.json of a package at `path`. */
function put(path: string, more: object = {}, version = '1.0.0'): string {
  const place = join(directory, path);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), JSON.stringify({ name: path, version, ...more }));
  return place;
}
const needs = (...names: string[]) => ({
  dependencies: Object.fromEntries(names.map((name) => [name, '*'])),
});
const packages = (root: string): Record<string, string> =>
  Object.fromEntries([...neededBy(root)].map(([place, from]) => [place, from.slice(directory.length + 1)]));

describe('the packages of an archive', () => {
  it('are those above the package as well, and not those that only build the addon', () => {
    const root = put('app/node_modules/@ringside/mesh', needs('a', 'node-gyp'));
    put('app/node_modules/a', needs('b'));
    put('app/node_modules/a/node_modules/b');
    put('app/node_modules/unneeded');
    put('app/node_modules/node-gyp');
    expect(packages(root)).toEqual({
      'node_modules/a': 'app/node_modules/a',
      'node_modules/b': 'app/node_modules/a/node_modules/b',
    });
  });

  it('lie below who needs them where two of one name are needed', () => {
    const root = put('app', needs('a', 'b', 'c'));
    put('app/node_modules/a', needs('c', 'd'));
    put('app/node_modules/a/node_modules/c', needs('d'), '2.0.0');
    put('app/node_modules/a/node_modules/d', {}, '2.0.0');
    put('app/node_modules/b', needs('d'));
    put('app/node_modules/c');
    put('app/node_modules/d');
    expect(packages(root)).toEqual({
      'node_modules/a': 'app/node_modules/a',
      'node_modules/b': 'app/node_modules/b',
      'node_modules/c': 'app/node_modules/c',
      'node_modules/a/node_modules/c': 'app/node_modules/a/node_modules/c',
      'node_modules/d': 'app/node_modules/a/node_modules/d',
      'node_modules/b/node_modules/d': 'app/node_modules/d',
    });
  });

  it('are found through the links of pnpm, in a circle too', () => {
    const root = put('app', needs('a'));
    put('app/node_modules/.pnpm/a@1/node_modules/a', needs('@s/b'));
    put('app/node_modules/.pnpm/b@1/node_modules/@s/b', needs('a'));
    const link = (target: string, place: string): void => {
      mkdirSync(join(directory, place, '..'), { recursive: true });
      symlinkSync(join(directory, target), join(directory, place));
    };
    link('app/node_modules/.pnpm/a@1/node_modules/a', 'app/node_modules/a');
    link('app/node_modules/.pnpm/b@1/node_modules/@s/b', 'app/node_modules/.pnpm/a@1/node_modules/@s/b');
    link('app/node_modules/.pnpm/a@1/node_modules/a', 'app/node_modules/.pnpm/b@1/node_modules/a');
    expect(packages(root)).toEqual({
      'node_modules/a': 'app/node_modules/.pnpm/a@1/node_modules/a',
      'node_modules/@s/b': 'app/node_modules/.pnpm/b@1/node_modules/@s/b',
    });
  });

  it('may be missing where they are optional, and else are named', () => {
    const optional = { optionalDependencies: { none: '*' }, peerDependencies: { peer: '*' } };
    const root = put('app', { ...optional, peerDependenciesMeta: { peer: { optional: true } } });
    expect(packages(root)).toEqual({});
    put('app', needs('gone'));
    expect(() => neededBy(root)).toThrow('gone, which app needs, is not installed');
  });
});

it('what is not built is not packed', async () => {
  await expect(pack({ directory: put('app') })).rejects.toThrow('is not built: it needs dist and an addon');
  await expect(pack({ directory: join(directory, 'nowhere') })).rejects.toThrow('ENOENT');
});
