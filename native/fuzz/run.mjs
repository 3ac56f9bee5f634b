// Runs every fuzzer for a while from its committed seeds, two at a time (the last three of an odd number together, half as
// long again, so that two cores are busy to the end): `npm run fuzz`, or
// `node native/fuzz/run.mjs [--seconds 10] [target ...]`. New inputs go to build-fuzz/, and so does what crashes;
// the seeds are only read. Ends with 1 if a fuzzer found something.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildTree, endWithout, report, root, works } from '../test/build-tree.mjs';

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '10' } },
  allowPositionals: true,
});
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 1) {
  console.error('--seconds must be a whole number from 1');
  process.exit(2);
}

const names = readdirSync(join(root, 'native', 'fuzz'))
  .filter((file) => file.endsWith('_fuzz.cc'))
  .map((file) => file.slice(0, -'.cc'.length));
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`unknown target ${unknown.join(', ')}; there are ${names.join(', ')}`);
  process.exit(2);
}
const chosen = positionals.length > 0 ? positionals : names;

// A clang without libFuzzer's runtime compiles and then fails to link: ask for both at once.
const probe = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n';
const versions = ['', ...Array.from({ length: 10 }, (_, i) => `-${23 - i}`)];
const compiler = versions
  .map((version) => `clang++${version}`)
  .find((name) => works(name, ['-fsanitize=fuzzer,address', '-x', 'c++', '-', '-o', '/dev/null'], probe));
if (!works('cmake', ['--version'])) endWithout('cmake', 'the fuzzers');
if (compiler === undefined) endWithout('clang with libFuzzer (clang, libclang-rt-dev)', 'the fuzzers');

const folder = 'build-fuzz';
forgetOtherCompiler(join(root, folder, 'CMakeCache.txt'));
if (!buildTree(folder, { RINGSIDE_FUZZ: 'ON', CMAKE_CXX_COMPILER: compiler })) {
  report('fuzz (build failed)', 0, 1);
  process.exit(1);
}

// CMake, told of another compiler, silently drops all other settings of the tree.
function forgetOtherCompiler(cache) {
  if (!existsSync(cache)) return;
  const before = /^CMAKE_CXX_COMPILER:\w+=.*\/(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (before !== compiler) rmSync(join(root, folder), { recursive: true });
}

/** Runs one fuzzer for that long and prints what it said; true if it found nothing. */
async function fuzz(name, seconds) {
  const seeds = join(root, 'native', 'fuzz', 'corpus', name);
  const found = join(root, folder, 'found', name);
  mkdirSync(found, { recursive: true });
  const crashes = join(root, folder, `${name}-`);
  const limits = [`-max_total_time=${seconds}`, '-timeout=10', '-rss_limit_mb=1024', '-max_len=20000'];
  const quiet = ['-verbosity=0', '-print_final_stats=1', `-artifact_prefix=${crashes}`];
  const corpora = existsSync(seeds) ? [found, seeds] : [found];
  const child = spawn(join(root, folder, name), [...limits, ...quiet, ...corpora], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(String(error)));
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  // libFuzzer ends with a dictionary of hundreds of lines; after success only its figures are worth printing.
  const lines = said.split('\n');
  console.log(`\n--- ${name}, ${seconds} s ---`);
  console.log((status === 0 ? lines.filter((line) => line.startsWith('stat::')) : lines).join('\n'));
  if (status !== 0) console.log(`${name} FOUND SOMETHING (${status}); the input lies at ${crashes}*`);
  return status === 0;
}

const rounds = [];
for (let rest = chosen; rest.length > 0;) {
  const round = rest.slice(0, rest.length === 3 ? 3 : 2);
  rounds.push(round);
  rest = rest.slice(round.length);
}

const failed = [];
for (const round of rounds) {
  const each = round.length === 3 ? Math.ceil(seconds * 1.5) : seconds;
  const clean = await Promise.all(round.map((name) => fuzz(name, each)));
  failed.push(...round.filter((_, i) => !clean[i]));
}
report('fuzz', chosen.length - failed.length, failed.length, failed);
process.exitCode = failed.length === 0 ? 0 : 1;
