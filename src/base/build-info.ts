// Which software this is: the version of the package, and the commit it was built from where the build knew it (build-info.mjs writes it beside the
// compiled files). Shown by `status`, the metrics and the log.
import { readFileSync } from 'node:fs';

/** See the file's head. */
export interface BuildInfo {
  version: string;
  /** Twelve digits, with `-dirty` behind them where files had been changed; null: built without git. */
  commit: string | null;
}

let known: BuildInfo | undefined;

/** Read once. */
export function buildInfo(): BuildInfo {
  known ??= { version: read<{ version: string }>('../../package.json').version, commit: builtFrom() };
  return known;
}

function builtFrom(): string | null {
  try {
    const { commit } = read<{ commit: unknown }>('../build-info.json');
    return typeof commit === 'string' ? commit : null;
  } catch {
    return null;
  }
}

function read<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as T;
}
