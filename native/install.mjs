// The package's install script, also run by `npm run build:native`: compiles the addon with node-gyp. The SDK works
// without it (frames over a socket, in TypeScript), so a failure only says what is missing; with --require or
// RINGSIDE_REQUIRE_ADDON=1 it fails the command. A build newer than all its sources is kept, so that running the tests
// again costs nothing.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const addonPath = path.join(root, 'build', 'Release', 'ringside.node');
const mustSucceed = process.argv.includes('--require') || process.env.RINGSIDE_REQUIRE_ADDON === '1';

function say(text) {
  process.stderr.write(`ringside: ${text}\n`);
}

// In the words of the user's own package manager; a work tree that was never compiled has only this script.
async function howToBuild() {
  try {
    const { rebuildCommand } = await import('../dist/base/rebuild-command.js');
    return rebuildCommand(root);
  } catch {
    return '"npm run build:native"';
  }
}
const again = await howToBuild();

function giveUp(reason) {
  say(`the native addon was not built: ${reason}`);
  say(`it needs Linux, Python 3, make and a compiler for C++20 (g++ 11 or clang 14); then run ${again}`);
  say(
    'without it an application reaches its agent over a socket instead of shared memory, and no agent runs here',
  );
  process.exit(mustSucceed ? 1 : 0);
}

// All that can change the binary. Tests, fuzzers and benchmarks under native/ are built elsewhere.
function* sourceFiles(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const full = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      if (!['test', 'fuzz', 'bench', 'build'].includes(entry.name)) yield* sourceFiles(full);
    } else if (/\.(cc|h|txt)$/.test(entry.name) && entry.name !== 'CMakeLists.txt') {
      yield full;
    }
  }
}

// A binary for another Node is not reused; node-gyp has noted the version it built for.
function builtForThisNode() {
  try {
    const config = readFileSync(path.join(root, 'build', 'config.gypi'), 'utf8');
    return config.includes(`"node_module_version": ${process.versions.modules}`);
  } catch {
    return false;
  }
}

function isFresh() {
  if (!existsSync(addonPath) || !builtForThisNode()) return false;
  const builtMs = statSync(addonPath).mtimeMs;
  const inputs = [path.join(root, 'binding.gyp'), ...sourceFiles(path.join(root, 'native'))];
  return inputs.every((file) => statSync(file).mtimeMs <= builtMs);
}

// Headers beside the running node spare a download, and are certain to fit it.
function nodeDirOption() {
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  return existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function build() {
  let nodeGyp;
  try {
    nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    giveUp('node-gyp is not installed');
  }
  // Incremental where a build tree for this Node exists, so that one changed file costs one file.
  const steps = builtForThisNode() ? ['configure', 'build'] : ['rebuild'];
  const args = [nodeGyp, ...steps, '--jobs=2', '--loglevel=warn', ...nodeDirOption()];
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.error) giveUp(result.error.message);
  if (result.status !== 0 || !existsSync(addonPath)) giveUp('the compiler or node-gyp failed, see above');
}

if (process.platform !== 'linux') {
  say(`no native addon on ${process.platform}: it needs Linux`);
  process.exit(mustSucceed ? 1 : 0);
}
if (isFresh()) {
  say('the native addon is up to date');
} else {
  build();
}
