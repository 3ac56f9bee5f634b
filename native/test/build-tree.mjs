// Configures and builds native/CMakeLists.txt through cmake-js in a build-*/ folder of the repository. Used by
// the runners of the native tests, the fuzzers and clang-tidy. A missing tool is said aloud; it is an error only where
// CI=true, because a library's user need not have cmake to work on the TypeScript half.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { appendFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const cmakeJs = join(
  dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')),
  'bin',
  'cmake-js',
);

/** True if `command` can be started and ends with 0. */
export function works(command, args, input) {
  return spawnSync(command, args, { input, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0;
}

/** Ends the process because `what` is missing: with 0 on a developer's machine, with 1 where CI=true. */
export function endWithout(what, purpose) {
  console.log(`SKIPPED ${purpose}: ${what} is missing`);
  process.exit(process.env.CI === 'true' ? 1 : 0);
}

/** Runs a program with our stdio; true if it ended with 0. */
export function run(command, args, options = {}) {
  return (
    spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], cwd: root, ...options }).status === 0
  );
}

/** Configures and builds one tree; `defines` are CMake cache entries. Answers whether it succeeded. */
export function buildTree(folder, defines, { config = 'RelWithDebInfo', build = true } = {}) {
  const args = ['-d', join(root, 'native'), '-O', join(root, folder), '-B', config, '-l', 'error'];
  for (const [key, value] of Object.entries(defines)) args.push(`--CD${key}=${value}`);
  if (!run(process.execPath, [cmakeJs, 'configure', ...args])) return false;
  return !build || run(process.execPath, [cmakeJs, 'build', ...args, '-p', process.env.RINGSIDE_JOBS ?? '2']);
}

/** Leaves a line "name passed failed" where CI collects its totals, if it does, and there too what it is that failed. */
export function report(name, passed, failed, whatFailed = []) {
  console.log(`${name}: ${passed} passed, ${failed} failed`);
  const file = process.env.RINGSIDE_RESULTS;
  if (file) appendFileSync(file, `${name.replaceAll(' ', '-')} ${passed} ${failed}\n`);
  const failures = process.env.RINGSIDE_FAILURES;
  if (failures) appendFileSync(failures, whatFailed.map((text) => `${name}: ${text}\n`).join(''));
}
