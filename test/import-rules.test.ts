// The layout's rules as a test: which folder may import which, who may touch the addon, which C++ may see Node, how
// files are called, and that the list of native sources is complete. A rule that nobody checks is soon not
// one; what a rule forbids is shown by the cases at the end.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const codeFolders = ['src', 'test', 'native', 'bench', 'examples'];

function filesUnder(folder: string, extensions: readonly string[]): string[] {
  const start = path.join(root, folder);
  if (!existsSync(start)) return [];
  return readdirSync(start, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && extensions.some((extension) => entry.name.endsWith(extension)))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(node_modules|dist|build)\//.test(file))
    .sort();
}

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** Where each folder of src/ stands: it imports from its own height and below. */
const heights: Record<string, number> = {
  base: 0,
  config: 1,
  policy: 1,
  registry: 1,
  observe: 1,
  protocol: 1,
  probe: 2,
  native: 2,
  sdk: 2,
  agent: 2,
  watcher: 2,
  handoff: 2,
  admin: 3,
  ops: 3,
  rollout: 3,
  cli: 4,
};

/** What the processes that never load the addon may import; nothing here knows of it. */
const withoutAddon: Record<string, readonly string[]> = {
  ops: ['base', 'config', 'policy', 'observe', 'admin'],
  rollout: ['base', 'config', 'policy', 'observe', 'ops'],
};

interface Import {
  file: string;
  from: string;
  specifier: string;
}

function importsOf(file: string, source: string): Import[] {
  return ts
    .preProcessFile(source, true, true)
    .importedFiles.map(({ fileName }) => ({ file, from: roomOf(file), specifier: fileName }));
}

/** The folder of src/ that a file belongs to; `index` for src/index.ts itself. */
function roomOf(file: string): string {
  const parts = file.split('/');
  return parts.length === 2 ? parts[1]!.replace(/\.[jt]s$/, '') : parts[1]!;
}

function targetOf({ file, specifier }: Import): string | undefined {
  return specifier.startsWith('.') ? path.posix.join(path.posix.dirname(file), specifier) : undefined;
}

/** Why an import breaks the rules, or undefined. */
function problemOf(one: Import): string | undefined {
  const target = targetOf(one);
  if (target === undefined) {
    if (one.from === 'policy') return `policy is pure and imports no module: ${one.specifier}`;
    if (one.from === 'base' && !one.specifier.startsWith('node:'))
      return `base imports no package: ${one.specifier}`;
    return undefined;
  }
  if (!target.startsWith('src/')) return `${target} is outside src/`;
  const to = roomOf(target);
  if (to === one.from) return undefined;
  if (target === 'src/native/load.js') return 'only src/native loads the addon';
  if (one.from === 'index')
    return to === 'cli' || to === 'admin' ? `the public API does not export ${to}` : undefined;
  if (to === 'index') return 'nothing inside src/ imports the public API';
  if (withoutAddon[one.from]?.includes(to) === false) return `${one.from} may not import ${to}`;
  const fromHeight = heights[one.from];
  const toHeight = heights[to];
  if (fromHeight === undefined) return `${one.from} has no place in the order of folders`;
  if (toHeight === undefined) return `${to} has no place in the order of folders`;
  return toHeight > fromHeight ? `${one.from} may not import ${to}` : undefined;
}

const sources = filesUnder('src', ['.ts']);
const imports = sources.flatMap((file) => importsOf(file, read(file)));

/** Folders of src/ that import each other in a circle, if any do. */
function circle(all: readonly Import[]): string[] {
  const uses = new Map<string, Set<string>>();
  for (const one of all) {
    const target = targetOf(one);
    if (target === undefined || roomOf(target) === one.from) continue;
    uses.set(one.from, (uses.get(one.from) ?? new Set()).add(roomOf(target)));
  }
  const done = new Set<string>();
  const visit = (room: string, way: readonly string[]): string[] => {
    if (way.includes(room)) return [...way.slice(way.indexOf(room)), room];
    if (done.has(room)) return [];
    for (const next of uses.get(room) ?? []) {
      const found = visit(next, [...way, room]);
      if (found.length > 0) return found;
    }
    done.add(room);
    return [];
  };
  for (const room of uses.keys()) {
    const found = visit(room, []);
    if (found.length > 0) return found;
  }
  return [];
}

const nodeHeader =
  /^\s*#\s*include\s*[<"](napi|node|node_api|js_native_api|v8|uv|nan|uv\/.*|node_.*|v8-.*)\.h[>"]/m;

function mayUseNodeHeaders(file: string): boolean {
  return file.startsWith('native/port/') || file === 'native/addon.cc';
}

const vagueName = /(^|[-_./])(util|utils|helper|helpers|manager|common|misc)([-_./]|$)/;

function nameProblem(file: string): string | undefined {
  if (vagueName.test(file)) return 'a name that says nothing';
  const name = path.basename(file);
  if (/\.(cc|h)$/.test(name))
    return /^[a-z0-9]+(_[a-z0-9]+)*\.(cc|h)$/.test(name) ? undefined : 'not snake_case';
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config))?\.(ts|js|mjs|mts)$/;
  return kebab.test(name) ? undefined : 'not kebab-case';
}

describe('imports', () => {
  it('run one way between the folders of src', () => {
    expect(imports.length).toBeGreaterThan(0);
    const problems = imports.flatMap((one) => {
      const problem = problemOf(one);
      return problem === undefined ? [] : [`${one.file}: ${problem}`];
    });
    expect(problems).toEqual([]);
  });

  it('form no circle of folders', () => {
    expect(circle(imports)).toEqual([]);
  });

  it('reach the addon from src/native only', () => {
    const loaders = ['src', 'bench', 'examples']
      .flatMap((folder) => filesUnder(folder, ['.ts', '.mjs', '.js']))
      .filter((file) => /ringside\.node|process\.dlopen/.test(read(file)));
    expect(loaders.filter((file) => !file.startsWith('src/native/'))).toEqual([]);
    expect(loaders).toContain('src/native/load.ts');
  });
});

describe('native code', () => {
  const native = filesUnder('native', ['.cc', '.h']);

  it('sees Node, Node-API and libuv only in native/port and addon.cc', () => {
    const offenders = native.filter((file) => !mayUseNodeHeaders(file) && nodeHeader.test(read(file)));
    expect(offenders).toEqual([]);
    expect(native.filter((file) => mayUseNodeHeaders(file) && nodeHeader.test(read(file)))).not.toEqual([]);
  });

  it('is listed in sources.txt, each Node-free file once', () => {
    const listed = read('native/sources.txt').split('\n').filter(Boolean);
    const elsewhere = /^native\/(port|test|fuzz|bench)\/|^native\/addon\.cc$/;
    const expected = native.filter((file) => file.endsWith('.cc') && !elsewhere.test(file));
    expect(listed.toSorted()).toEqual(expected);
  });
});

describe('files', () => {
  it('are called after what is in them, in the case of their language', () => {
    const files = codeFolders.flatMap((folder) => filesUnder(folder, ['.ts', '.js', '.mjs', '.cc', '.h']));
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => nameProblem(file) !== undefined)).toEqual([]);
  });
});

describe('the rules themselves', () => {
  const problem = (file: string, source: string): string | undefined => {
    const found = importsOf(file, source).map(problemOf);
    return found.find((text) => text !== undefined);
  };

  it.each([
    ['src/base/a.ts', "import { x } from '../config/x.js';"],
    ['src/base/a.ts', "import x from 'pino';"],
    ['src/policy/a.ts', "import fs from 'node:fs';"],
    ['src/policy/a.ts', "import type { X } from '../agent/x.js';"],
    ['src/sdk/a.ts', "import { loadAddon } from '../native/load.js';"],
    ['src/sdk/a.ts', "const x = await import('../cli/main.js');"],
    ['src/agent/a.ts', "export * from '../admin/x.js';"],
    ['src/agent/a.ts', "import { x } from '../index.js';"],
    ['src/agent/deep/a.ts', "import { x } from '../../../test/x.js';"],
    ['src/ops/a.ts', "import { x } from '../native/engine.js';"],
    ['src/rollout/a.ts', "import { x } from '../sdk/x.js';"],
    ['src/elsewhere/a.ts', "import { x } from '../base/x.js';"],
  ])('refuse in %s: %s', (file, source) => {
    expect(problem(file, source)).toEqual(expect.any(String));
  });

  it.each([
    ['src/cli/main.ts', "import { x } from '../agent/x.js'; import pino from 'pino';"],
    ['src/sdk/a.ts', "import { x } from '../native/app-link.js'; import { y } from './y.js';"],
    ['src/index.ts', "export { x } from './sdk/x.js';"],
  ])('allow in %s: %s', (file, source) => {
    expect(problem(file, source)).toBeUndefined();
  });

  it('see circles, Node headers and vague names', () => {
    const both = [
      ...importsOf('src/sdk/a.ts', "import '../agent/x.js';"),
      ...importsOf('src/agent/b.ts', "import '../sdk/x.js';"),
    ];
    expect(circle(both)).toEqual(['sdk', 'agent', 'sdk']);
    expect(nodeHeader.test('#include <uv.h>')).toBe(true);
    expect(nodeHeader.test('#include "native/codec/frame.h"')).toBe(false);
    expect(nameProblem('src/base/string-utils.ts')).toBeDefined();
    expect(nameProblem('src/base/fileName.ts')).toBeDefined();
    expect(nameProblem('native/shm/ring-x.cc')).toBeDefined();
    expect(nameProblem('src/base/errors.test.ts')).toBeUndefined();
  });
});
