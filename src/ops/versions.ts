/**
 * The versions on disk: `<directory>/versions/<name>/` holds the files of one, `<name>.json` beside it where they came from. A directory under its
 * own name is whole: it was unpacked as `<name>.partial`, synced, then renamed.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { syncDirectory, writeDurably } from '../base/durable-file.js';
import { BUILT_IN, versionName } from './api.js';

const originSchema = z.object({ sha256: z.string(), source: z.string(), installedAt: z.string() });
/** Where the files of a version came from. */
export type Origin = z.output<typeof originSchema>;

export interface InstalledVersion extends Origin {
  version: string;
}

// Both src/ops and dist/ops lie two levels below the package's root.
const ownPackage = fileURLToPath(new URL('../../', import.meta.url));

/** See the file's head. */
export class Versions {
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
  preparePartial(version: string): string {
    const path = this.#path(`${version}.partial`);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Makes the unpacked files, which must be on disk already, a version. */
  install(version: string, origin: Origin): void {
    rmSync(this.#path(version), { recursive: true, force: true });
    writeDurably(this.#path(`${version}.json`), `${JSON.stringify(origin, null, 2)}\n`);
    renameSync(this.#path(`${version}.partial`), this.#path(version));
    syncDirectory(this.directory);
  }

  /** Removes what downloads and unpacking left that did not come to an end. */
  removePartial(): void {
    for (const name of readdirSync(this.directory)) {
      if (/\.(download|partial|new)$/.test(name)) rmSync(this.#path(name), { recursive: true, force: true });
    }
  }

  /** Removes all but the youngest `keep`; those in `needed` stay. Returns what went. */
  prune(keep: number, needed: readonly (string | null)[]): string[] {
    const old = this.list()
      .slice(keep)
      .map(({ version }) => version)
      .filter((version) => !needed.includes(version));
    for (const version of old) {
      rmSync(this.#path(`${version}.json`), { force: true });
      rmSync(this.#path(version), { recursive: true, force: true });
    }
    return old;
  }

  /**
   * Program and arguments that run a version.
   * @param template from the configuration; null: the `ringside` of the version's package.json
   * @throws Error if the version is not there, or has no such program
   */
  command(version: string, template: readonly string[] | null): string[] {
    const directory = this.#packageOf(version);
    if (template) return template.map((part) => part.replaceAll('{directory}', directory));
    const { bin } = z
      .object({ bin: z.object({ ringside: z.string() }) })
      .parse(JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')));
    const program = resolve(directory, bin.ringside);
    if (relative(directory, program).startsWith('..'))
      throw new Error(`the program of version ${version} lies outside of it`);
    return [process.execPath, program];
  }

  /** `npm pack` puts everything into a directory `package`. */
  #packageOf(version: string): string {
    if (version === BUILT_IN) return ownPackage.replace(/\/$/, '');
    const directory = this.#path(version);
    if (this.find(version) === undefined) throw new Error(`version ${version} is not installed`);
    const inner = join(directory, 'package');
    return !existsSync(join(directory, 'package.json')) && existsSync(join(inner, 'package.json'))
      ? inner
      : directory;
  }

  #path(name: string): string {
    return join(this.directory, name);
  }
}
