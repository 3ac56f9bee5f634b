// Libraries that tests preload into processes they start (LD_PRELOAD), compiled from C beside this file: so the product itself holds
// nothing that a test, or anybody else, could trigger.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Why nothing can be preloaded here; undefined if it can. */
export const preloadProblem =
  spawnSync('cc', ['--version']).status === 0 ? undefined : 'there is no C compiler to make it with';

/** Compiles `name`.c into `directory`. @returns the library's path, for LD_PRELOAD */
export function compilePreloaded(name: string, directory: string): string {
  const library = join(directory, `${name}.so`);
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const made = spawnSync('cc', [
    ...['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, source, '-ldl'],
  ]);
  if (made.status !== 0) throw new Error(`${name}.c does not compile: ${made.stderr.toString()}`);
  return library;
}
