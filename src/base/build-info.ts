// Which software this is: the version of the package, and the commit it was built from where the build knew it (build-info.mjs writes it beside the
// compiled files). Shown by `status`, the metrics and the log. In an application that was bundled into one file nothing of ours lies beside it (and
// whatever does is not ours); then nothing here fails, and nothing is known.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** See the file's head. */
export interface BuildInfo {
  version: string;
  /** Twelve digits, with `-dirty` behind them where files had been changed; null: built without git. */
  commit: string | null;
}

/** Under which this package is installed. */
export const packageName = '@ringside/mesh';

interface OwnPackage {
  readonly directory: string;
  readonly version: string;
}

let known: BuildInfo | undefined;
let own: OwnPackage | null | undefined;

/** Read once. */
export function buildInfo(): BuildInfo {
  known ??= { version: ownPackage()?.version ?? 'unknown', commit: builtFrom() };
  return known;
}

/** Where this package lies; undefined in a bundled application. */
export function packageDirectory(): string | undefined {
  return ownPackage()?.directory;
}

function ownPackage(): OwnPackage | null {
  if (own === undefined) own = findOwnPackage();
  return own;
}

function findOwnPackage(): OwnPackage | null {
  try {
    const { name, version } = read<Record<string, unknown>>('../../package.json');
    if (name !== packageName || typeof version !== 'string') return null;
    return { directory: fileURLToPath(new URL('../../', import.meta.url)), version };
  } catch {
    return null;
  }
}

function builtFrom(): string | null {
  if (ownPackage() === null) return null;
  try {
    const { commit } = read<{ commit: unknown }>('../build-info.json');
    return typeof commit === 'string' ? commit : null;
  } catch {
    return null;
  }
}

// Bundlers for CommonJS leave no import.meta.url, so it is read only where a failure is caught.
function read<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as T;
}
