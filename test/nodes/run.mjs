// Runs end-to-end tests on every version of Node that is supported, with one and the same addon binary: `npm run test:nodes`. Further
// rounds are without the addon, and as an unprivileged user where root asks. A version that is not to be had is a failure, said in
// words. `--quick` is CI's: the newest version and two files; `--node 22` chooses one version.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, chownSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { report, root } from '../../native/test/build-tree.mjs';
import { readVitestReport } from '../support/vitest-report.mjs';
import { runtime, versions } from './runtimes.mjs';

const representative = ['opening', 'transports', 'removal', 'flows', 'upgrade', 'legacy', 'config'];
const nobody = 65_534;

const { values: chosen } = parseArgs({ options: { quick: { type: 'boolean' }, node: { type: 'string' } } });
const wanted = versions.filter(
  (version) => chosen.node === undefined || version.startsWith(`${chosen.node}.`),
);
if (wanted.length === 0) {
  console.error(`there is no Node ${chosen.node} among ${versions.join(', ')}`);
  process.exit(2);
}

const addon = join(root, 'build/Release/ringside.node');
function addonDigest() {
  try {
    return createHash('sha256').update(readFileSync(addon)).digest('hex').slice(0, 16);
  } catch {
    console.error('the native addon is not built: npm run build');
    return process.exit(2);
  }
}

/** What is run: its name, the version of Node (none: the one that runs this), files of test/e2e, a user. */
const rounds = chosen.quick
  ? [{ name: `Node ${wanted.at(-1)}`, version: wanted.at(-1), files: ['opening', 'transports'] }]
  : [
      ...wanted.map((version) => ({ name: `Node ${version}`, version, files: representative })),
      { name: 'without the addon', files: ['without-addon'] },
      ...(process.getuid() === 0
        ? [{ name: 'unprivileged user', files: [...representative, 'without-addon'], uid: nobody }]
        : []),
    ];

/** @returns `passed`, `failed`, `skipped`, and `problem` where there are no figures */
function runRound({ name, version, files, uid }) {
  let program;
  try {
    program = version === undefined ? process.execPath : runtime(version);
    if (uid !== undefined) mayUse(program, uid);
  } catch (error) {
    return { passed: 0, failed: 1, skipped: 0, problem: error.message };
  }
  const temporary = mkdtempSync(join(tmpdir(), 'ringside-nodes-'));
  try {
    if (uid !== undefined) chownSync(temporary, uid, uid);
    const results = join(temporary, 'results.json');
    const { status } = spawnSync(
      program,
      [
        join(root, 'node_modules/vitest/vitest.mjs'),
        ...['run', '--project', 'e2e', '--project', 'e2e-alone', '--silent=passed-only'],
        // What would be written beside the sources: another user may not.
        ...['--configLoader', 'runner', '--no-cache'],
        ...['--reporter=default', '--reporter=json', `--outputFile.json=${results}`],
        ...files.map((file) => `test/e2e/${file}.test.ts`),
      ],
      {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        // Whoever calls `node` by its name is to find the same one.
        env: {
          ...process.env,
          PATH: `${dirname(program)}:${process.env.PATH}`,
          ...(uid === undefined ? {} : { TMPDIR: temporary, HOME: temporary }),
        },
        ...(uid === undefined ? {} : { uid, gid: uid }),
      },
    );
    const figures = readVitestReport(results);
    const missing = files.length - figures.files;
    if (missing > 0)
      return { ...figures, failed: figures.failed + missing, problem: `${missing} files did not run` };
    if (status !== 0 && figures.failed === 0)
      return { ...figures, failed: 1, problem: 'the run did not end well' };
    return figures;
  } catch (error) {
    return { passed: 0, failed: 1, skipped: 0, problem: `${name}: ${error.message}` };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** @throws Error naming what that user cannot read */
function mayUse(program, uid) {
  for (const file of [program, addon, join(root, 'vitest.config.ts'), join(root, 'dist/index.js')]) {
    accessSync(file, constants.R_OK);
    const { status } = spawnSync('/bin/sh', ['-c', 'test -r "$1"', 'sh', file], { cwd: '/', uid, gid: uid });
    if (status !== 0) {
      throw new Error(`user ${uid} may not read ${file}: put the repository where every user can read it`);
    }
  }
}

const digest = addonDigest();
const table = rounds.map((round, i) => {
  console.log(`\n--- ${round.name} (${i + 1} of ${rounds.length}): ${round.files.join(', ')} ---`);
  const startedMs = Date.now();
  const figures = runRound(round);
  return { name: round.name, ...figures, seconds: Math.round((Date.now() - startedMs) / 1000) };
});

const width = Math.max(...table.map(({ name }) => name.length));
console.log(`\none addon binary for all (sha256 ${digest}...), built with Node ${process.versions.node}`);
console.log(`${''.padEnd(width)}  passed  failed  skipped  seconds`);
for (const { name, passed, failed, skipped, seconds, problem } of table) {
  const figures = [
    [passed, 6],
    [failed, 6],
    [skipped, 7],
    [seconds, 7],
  ].map(([figure, columns]) => String(figure).padStart(columns));
  console.log(`${name.padEnd(width)}  ${figures.join('  ')}${problem === undefined ? '' : `  ${problem}`}`);
}
const changed = addonDigest() !== digest;
if (changed) console.log('the addon was built anew while the tests ran: these figures are not of one binary');

const sum = (of) => table.reduce((total, round) => total + round[of], 0);
const whatFailed = table.flatMap(({ name, failures = [], problem }) =>
  [...failures, ...(problem === undefined ? [] : [problem])].map((text) => `${name}: ${text}`),
);
report('other nodes', sum('passed'), sum('failed') + (changed ? 1 : 0), whatFailed);
process.exitCode = sum('failed') > 0 || changed ? 1 : 0;
