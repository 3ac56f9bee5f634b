// Runs clang-tidy (.clang-tidy) over the Node-free native sources, or over those named: `npm run tidy`, or
// `node native/test/tidy.mjs native/codec/frame.cc`. Ends with 1 if it has a complaint.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildTree, endWithout, root, works } from './build-tree.mjs';

const versions = ['', ...Array.from({ length: 10 }, (_, i) => `-${23 - i}`)];
const tidy = versions.map((version) => `clang-tidy${version}`).find((name) => works(name, ['--version']));
if (!works('cmake', ['--version'])) endWithout('cmake', 'clang-tidy');
if (tidy === undefined) endWithout('clang-tidy', 'clang-tidy');
if (!buildTree('build-plain', {}, { build: false })) process.exit(1);

const listed = readFileSync(join(root, 'native', 'sources.txt'), 'utf8')
  .split('\n')
  .filter(Boolean);
const files = process.argv.length > 2 ? process.argv.slice(2) : listed;
const failed = [];

function check(file) {
  return new Promise((resolve) => {
    const child = spawn(tidy, ['--quiet', '-p', join(root, 'build-plain'), file], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'ignore'],
    });
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}

async function work() {
  for (let file = files.shift(); file !== undefined; file = files.shift()) {
    if (!(await check(file))) failed.push(file);
  }
}

await Promise.all([work(), work()]);
console.log(
  failed.length === 0 ? 'clang-tidy: nothing to say' : `clang-tidy complains about ${failed.join(', ')}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
