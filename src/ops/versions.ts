/**
 * The versions on disk: `<directory>/versions/<name>/` holds the files of one, `<name>.json` beside it where they came from. A directory under its
 * own name is whole: it was unpacked as `<name>.partial`, synced, then renamed. What goes away is renamed at once and removed in the background: there
 * may be very many files, and an agent that crashed is not to wait for them.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { syncDirectory, writeDurably } from '../base/durable-file.js';
import { errorText } from '../base/errors.js';
import { BUILT_IN, versionName } from './api.js';

const originSchema = z.object({ sha256: z.string(), source: z.string(), installedAt: z.string() });
/** Where the files of a version came from. */
export type Origin = z.output<typeof originSchema>;

export interface InstalledVersion extends Origin {
  version: string;
}

// Both src/ops and dist/ops lie two levels below the package's root.
export const ownPackage = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

/** A package.json is read in one go. */
const MAX_MANIFEST_BYTES = 1024 * 1024;

/** See the file's head. */
export class Versions {
  #removing: Promise<unknown> = Promise.resolve();

  constructor(readonly directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** All that are whole, youngest first. */
  list(): InstalledVersion[] {
    return readdirSync(this.directory)
      .filter((name) => name.endsWith('.json'))
      .map((name) => basename(name, '.json'))
      .flatMap((version) => this.find(version) ?? [])
      .sort((a, b) => b.installedAt.localeCompare(a.installedAt));
  }

  /** A version that is whole; undefined where there is none of that name. */
  find(version: string): InstalledVersion | undefined {
    if (!versionName.safeParse(version).success || !existsSync(this.#path(version))) return undefined;
    try {
      const origin = originSchema.parse(JSON.parse(readFileSync(this.#path(`${version}.json`), 'utf8')));
      return { version, ...origin };
    } catch {
      return undefined;
    }
  }

  /** Where the archive of a version is written while it is downloaded. */
  downloadPath(version: string): string {
    return this.#path(`${version}.download`);
  }

  /** Where it is unpacked; made anew. */
  async preparePartial(version: string): Promise<string> {
    await this.#removing;
    const path = this.#path(`${version}.partial`);
    await rm(path, { recursive: true, force: true });
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Makes the unpacked files, which must be on disk already, a version; another one of that name goes. */
  install(version: string, origin: Origin): void {
    this.#discard(version);
    writeDurably(this.#path(`${version}.json`), `${JSON.stringify(origin, null, 2)}\n`);
    renameSync(this.#path(`${version}.partial`), this.#path(version));
    syncDirectory(this.directory);
  }

  /** Removes what downloads and unpacking left that did not come to an end. Resolves when it is gone; never rejects. */
  async removePartial(): Promise<void> {
    for (const name of readdirSync(this.directory)) {
      if (/\.(download|partial|new)$/.test(name)) this.#remove(this.#path(name));
    }
    await this.#removing;
  }

  /** Removes all but the youngest `keep`; those in `needed` stay. Returns what went. */
  prune(keep: number, needed: readonly (string | null)[]): string[] {
    const old = this.list()
      .slice(keep)
      .map(({ version }) => version)
      .filter((version) => !needed.includes(version));
    for (const version of old) {
      rmSync(this.#path(`${version}.json`), { force: true });
      this.#discard(version);
    }
    return old;
  }

  /**
   * Program and arguments that run a version.
   * @param template from the configuration; null: the `ringside` of the version's package.json
   * @throws Error if the version is not there, or has no such program
   */
  command(version: string, template: readonly string[] | null): string[] {
    return commandIn(this.packageOf(version), version, template);
  }

  /** Where the package.json of a version lies. @throws Error if the version is not there */
  packageOf(version: string): string {
    if (version === BUILT_IN) return ownPackage;
    if (this.find(version) === undefined) throw new Error(`version ${version} is not installed`);
    return packageIn(this.#path(version));
  }

  #discard(version: string): void {
    if (!existsSync(this.#path(version))) return;
    const away = this.#path(`${version}.${randomUUID()}.partial`);
    renameSync(this.#path(version), away);
    this.#remove(away);
  }

  /** What cannot be removed now is at the next start. */
  #remove(path: string): void {
    const removed = rm(path, { recursive: true, force: true }).catch(() => undefined);
    this.#removing = Promise.all([this.#removing, removed]);
  }

  #path(name: string): string {
    return join(this.directory, name);
  }
}

/** {@link Versions.command} of a version whose package.json lies in `directory`. */
export function commandIn(directory: string, version: string, template: readonly string[] | null): string[] {
  if (template) return template.map((part) => part.replaceAll('{directory}', directory));
  const manifest = z.object({ bin: z.object({ ringside: z.string() }) }).safeParse(manifestIn(directory));
  if (!manifest.success) throw new Error(`the package.json of version ${version} has no bin.ringside`);
  const { bin } = manifest.data;
  const program = resolve(directory, bin.ringside);
  if (relative(directory, program).startsWith('..'))
    throw new Error(`the program of version ${version} lies outside of it`);
  return [process.execPath, program];
}

/** Where the package.json of unpacked files lies: `npm pack` puts everything into a directory `package`. */
export function packageIn(directory: string): string {
  const inner = join(directory, 'package');
  return !existsSync(join(directory, 'package.json')) && existsSync(join(inner, 'package.json'))
    ? inner
    : directory;
}

/** The package.json in `directory`. @throws Error if there is none that can be read */
export function manifestIn(directory: string): unknown {
  const file = join(directory, 'package.json');
  const facts = statSync(file, { throwIfNoEntry: false });
  if (facts?.isFile() !== true)
    throw new Error('there is no package.json, at the top or in a directory package');
  if (facts.size > MAX_MANIFEST_BYTES) throw new Error('the package.json is larger than 1 MiB');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`the package.json cannot be read: ${errorText(error)}`, { cause: error });
  }
}
