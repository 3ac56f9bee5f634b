/**
 * Builds the archive of a version, for `ringside ops pack`: the built package with its addon, and every package it needs at run time, found as Node
 * finds them (npm, pnpm, yarn with node_modules). It is put together in a directory, asked there what an ops agent asks before a start
 * (check-version.ts), and packed so that the same files give the same bytes.
 */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  statSync,
} from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { create } from 'tar';
import { z } from 'zod';
import { checkVersion } from './check-version.js';
import { commandIn, manifestIn } from './versions.js';

/** What of a package itself is taken; README and licence are. */
const OWN_PARTS = ['package.json', 'dist', 'LICENSE', 'README.md', 'CHANGELOG.md'];
/** Types and maps to the sources: for people and compilers, a third of all files. */
const UNUSED = /\.(d\.[cm]?ts|map|tsbuildinfo)$/;
/** They build the addon, which is built. */
const BUILD_ONLY = ['node-gyp', 'node-addon-api'];
const CHECK_MS = 60_000;

const manifestSchema = z.object({
  name: z.string().min(1),
  version: z.string().min(1),
  dependencies: z.record(z.string(), z.string()).default({}),
  optionalDependencies: z.record(z.string(), z.string()).default({}),
  peerDependencies: z.record(z.string(), z.string()).default({}),
  peerDependenciesMeta: z.record(z.string(), z.object({ optional: z.boolean().optional() })).default({}),
});

export interface PackOptions {
  /** The built package. */
  directory: string;
  /** The name it is to be installed as; undefined: its version. */
  name?: string;
  /** Where the archive goes; undefined: `ringside-<name>.tar.gz` here. */
  output?: string;
}

export interface Packed {
  version: string;
  archive: string;
  sha256: string;
  bytes: number;
  /** Packages beside the package itself. */
  packages: number;
}

/** @throws Error that says what is missing; there is no archive then */
export async function pack({ directory, name, output }: PackOptions): Promise<Packed> {
  const root = realpathSync(directory);
  const { version: own } = manifestOf(root);
  const version = name ?? own;
  const archive = resolve(output ?? `ringside-${version}.tar.gz`);
  const addon = join('build', 'Release');
  const addons = existsSync(join(root, addon))
    ? readdirSync(join(root, addon)).filter((file) => file.endsWith('.node'))
    : [];
  if (!existsSync(join(root, 'dist')) || addons.length === 0)
    throw new Error(`${root} is not built: it needs dist and an addon in ${addon}`);
  // Beside the archive, so that it is renamed into its place.
  const staging = await mkdtemp(join(dirname(archive), '.ringside-pack-'));
  try {
    const files = join(staging, 'files');
    for (const part of OWN_PARTS) {
      if (existsSync(join(root, part))) await copy(join(root, part), join(files, part));
    }
    for (const file of addons) await copy(join(root, addon, file), join(files, addon, file));
    const packages = neededBy(root);
    for (const [place, from] of packages) await copy(from, join(files, place));
    const command = commandIn(files, version, null);
    // The defaults of the configuration: what is asked is whether the program runs without what lies around the original.
    await checkVersion(
      { version, directory: files, command },
      { agentConfig: null, checkMs: CHECK_MS },
      new AbortController().signal,
    );
    const made = join(staging, basename(archive));
    const options = { file: made, gzip: { level: 9 }, cwd: files, portable: true, mtime: new Date(0) };
    await create(options, filesUnder(files).sort());
    const sha256 = await sha256Of(made);
    const { size: bytes } = statSync(made);
    renameSync(made, archive);
    return { version, archive, sha256, bytes, packages: packages.size };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * Where each package that `root` needs goes, and where it lies now. The first of a name goes to the top, another one of that name below who needs it, so
 * that each finds what it finds where it is now.
 * @throws Error if one that is needed is not installed
 */
export function neededBy(root: string): Map<string, string> {
  const places = new Map<string, string>();
  const found = (from: string, name: string): string | undefined => {
    // As Node looks: in the package's own directory, then in each one above it.
    const above = from === '' ? [] : from.split(/(?:^|\/)node_modules\//).slice(1);
    for (let depth = above.length; depth >= 0; depth--) {
      const base = above.slice(0, depth).map((part) => `node_modules/${part}`);
      const place = places.get([...base, `node_modules/${name}`].join('/'));
      if (place !== undefined) return place;
    }
    return undefined;
  };
  // Breadth first: what a package needs itself stands before anything below it is looked at.
  const queue: { place: string; directory: string }[] = [{ place: '', directory: root }];
  for (const { place, directory } of queue) {
    for (const { name, optional } of needsOf(directory, place === '')) {
      const lies = installed(directory, name);
      if (lies === undefined) {
        if (optional) continue;
        throw new Error(
          `${name}, which ${basename(directory)} needs, is not installed in a node_modules above ${directory}`,
        );
      }
      const there = found(place, name);
      if (there === lies) continue;
      const target = there === undefined ? `node_modules/${name}` : join(place, 'node_modules', name);
      places.set(target, lies);
      queue.push({ place: target, directory: lies });
    }
  }
  return places;
}

function needsOf(directory: string, isRoot: boolean): { name: string; optional: boolean }[] {
  const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } =
    manifestOf(directory);
  const all = [
    ...Object.keys(dependencies).map((name) => ({ name, optional: name in optionalDependencies })),
    ...Object.keys(optionalDependencies).map((name) => ({ name, optional: true })),
    ...Object.keys(peerDependencies).map((name) => ({
      name,
      optional: peerDependenciesMeta[name]?.optional === true,
    })),
  ];
  return isRoot ? all.filter(({ name }) => !BUILD_ONLY.includes(name)) : all;
}

/** Where the package `name` lies for what lies in `directory`, links followed. */
function installed(directory: string, name: string): string | undefined {
  for (let at = directory; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (basename(at) !== 'node_modules' && existsSync(join(candidate, 'package.json')))
      return realpathSync(candidate);
    if (at === dirname(at)) return undefined;
  }
}

function manifestOf(directory: string): z.output<typeof manifestSchema> {
  const manifest = manifestSchema.safeParse(manifestIn(directory));
  if (!manifest.success)
    throw new Error(`the package.json in ${directory} is none: ${manifest.error.issues[0]?.message}`);
  return manifest.data;
}

/** Files and directories; links and what packages carry in a node_modules of their own stay. */
async function copy(from: string, to: string): Promise<void> {
  mkdirSync(dirname(to), { recursive: true });
  await cp(from, to, {
    recursive: true,
    filter: (source) => {
      const facts = lstatSync(source);
      const inside = relative(from, source).split('/');
      return (
        (facts.isDirectory() || facts.isFile()) && !inside.includes('node_modules') && !UNUSED.test(source)
      );
    },
  });
}

function filesUnder(directory: string, base = ''): string[] {
  return readdirSync(join(directory, base), { withFileTypes: true }).flatMap((entry) => {
    const path = join(base, entry.name);
    return entry.isDirectory() ? filesUnder(directory, path) : [path];
  });
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
