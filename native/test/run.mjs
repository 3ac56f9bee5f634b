// Runs the native tests: builds them plain, with ASan and UBSan, and with TSan, and runs ctest on each build.
// `npm run test:native`; arguments choose builds: `node native/test/run.mjs plain asan`. Ends with 1 if a build
// or a test fails.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildTree, endWithout, report, root, run, works } from './build-tree.mjs';

const builds = {
  plain: {},
  asan: { RINGSIDE_SANITIZE: 'address,undefined' },
  tsan: { RINGSIDE_SANITIZE: 'thread' },
};

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(builds);
const unknown = chosen.filter((name) => !Object.hasOwn(builds, name));
if (unknown.length > 0) {
  console.error(`unknown build ${unknown.join(', ')}; there are ${Object.keys(builds).join(', ')}`);
  process.exit(2);
}
if (!works('cmake', ['--version'])) endWithout('cmake', 'the native tests');
if (!works('c++', ['-E', '-x', 'c++', '-'], '#include <gtest/gtest.h>\n')) {
  endWithout('a C++ compiler with GoogleTest (libgtest-dev)', 'the native tests');
}

// The thread sanitizer wants its own address layout and some kernels' randomisation spoils it.
const steady = works('setarch', ['-R', 'true']) ? ['setarch', '-R'] : [];

function runTests(name) {
  console.log(`\n--- native tests, ${name} build ---`);
  const folder = `build-${name}`;
  if (!buildTree(folder, { ...builds[name], RINGSIDE_WERROR: process.env.CI === 'true' ? 'ON' : 'OFF' })) {
    report(`native ${name} (build failed)`, 0, 1);
    return false;
  }
  const junit = join(root, folder, 'junit.xml');
  rmSync(junit, { force: true });
  const command = [
    'ctest',
    '--test-dir',
    folder,
    '--output-junit',
    junit,
    '--output-on-failure',
    '--progress',
    '-j2',
  ];
  const ok = run(...split(name === 'tsan' ? [...steady, ...command] : command));
  const { passed, failed, names } = countTests(junit);
  report(`native ${name}`, passed, ok ? failed : Math.max(failed, 1), names);
  return ok && passed > 0;
}

function split([command, ...args]) {
  return [command, args];
}

function countTests(file) {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return { passed: 0, failed: 1, names: [] };
  }
  const number = (name) =>
    Number(new RegExp(`<testsuite [^>]*\\b${name}="(\\d+)"`, 's').exec(text)?.[1] ?? 0);
  const failed = number('failures');
  const names = [...text.matchAll(/<testcase name="([^"]*)"[^>]*\bstatus="fail"/g)].map((match) => match[1]);
  return { passed: number('tests') - failed - number('disabled') - number('skipped'), failed, names };
}

let ok = true;
for (const name of chosen) ok = runTests(name) && ok;
process.exitCode = ok ? 0 : 1;
