/**
 * What is asked of a version before any agent of it is started: that its package.json bears the name it is installed under, that its addon can be loaded
 * on this machine, and that it can use the agent's configuration, as its own command says. Each in a process that is killed when it takes too long.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { manifestIn } from './versions.js';

/** As much of what it wrote is told. */
const TOLD_BYTES = 2_000;
/** How long its output may stay open after its end: what it left behind may hold it for ever. */
const OUTPUT_ENDS_MS = 1_000;

export interface VersionToCheck {
  version: string;
  /** Where its package.json lies. */
  directory: string;
  /** Program and arguments that run it. */
  command: readonly string[];
}

/** @throws Error if it should not be started, and why */
export async function checkVersion(
  { version, directory, command }: VersionToCheck,
  { agentConfig, checkMs }: { agentConfig: string | null; checkMs: number },
  signal: AbortSignal,
): Promise<void> {
  mustBeNamed(version, directory);
  const run = async (what: string, [program = '', ...args]: readonly string[]): Promise<void> => {
    const problem = await outcomeOf(program, args, checkMs, signal);
    if (problem !== undefined) throw new Error(`version ${version} ${what}: ${problem}`);
  };
  const addons = addonsIn(directory);
  // In a process of its version: this one never has an addon in it.
  for (const addon of addons)
    await run('has an addon that cannot be loaded here', [
      nodeOf(command),
      '-p',
      'require(process.argv[1]), 0',
      addon,
    ]);
  if (addons.length === 0 && existsSync(join(directory, 'dist', 'native')))
    throw new Error(
      `version ${version} has no addon in build/Release; \`ringside ops pack\` makes an archive that has one`,
    );
  const config = agentConfig === null ? [] : ['--config', agentConfig];
  await run(`cannot use the agent's configuration`, [...command, 'agent', ...config, '--check']);
}

/** A version may be installed as `1.4.0`, `v1.4.0` or, to tell builds of it apart, `1.4.0+anything`. */
export function mustBeNamed(version: string, directory: string): void {
  const said = z.object({ version: z.string() }).safeParse(manifestIn(directory));
  if (!said.success) throw new Error(`the package.json of version ${version} has no version`);
  const plain = (name: string): string => name.replace(/^v(?=\d)/, '').replace(/\+.*$/, '');
  const wanted = said.data.version;
  if (plain(wanted) !== plain(version))
    throw new Error(
      `the archive holds version ${JSON.stringify(wanted.slice(0, 100))} by its package.json, not ${version}`,
    );
}

function addonsIn(directory: string): string[] {
  const built = join(directory, 'build', 'Release');
  if (!existsSync(built)) return [];
  return readdirSync(built)
    .filter((name) => name.endsWith('.node'))
    .map((name) => join(built, name));
}

/** The Node that runs it, as far as the command tells. */
function nodeOf([program = '']: readonly string[]): string {
  return /^node(js)?(-?\d.*)?$/.test(basename(program)) ? program : process.execPath;
}

/** undefined where it ended with code 0, else what went wrong, with the end of what it wrote. */
function outcomeOf(
  program: string,
  args: readonly string[],
  checkMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(program, args, {
      // A group of its own, so that what a launcher started goes with it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NOTIFY_SOCKET: undefined },
    });
    let said = Buffer.alloc(0);
    const onOutput = (chunk: Buffer): void => {
      said = Buffer.concat([said, chunk]).subarray(-TOLD_BYTES);
    };
    child.stdout.on('data', onOutput);
    child.stderr.on('data', onOutput);
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Nothing of it is left.
      }
    };
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      kill();
    }, checkMs);
    signal.addEventListener('abort', kill);
    child.once('error', (error) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      resolve(`it cannot be run: ${error.message}`);
    });
    child.once('exit', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      kill();
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, OUTPUT_ENDS_MS).unref();
    });
    child.once('close', (code, by) => {
      if (signal.aborted) return reject(new Error('called off'));
      if (code === 0 && !late) return resolve(undefined);
      const how = late
        ? `it did not end within versions.checkMs, ${checkMs} ms`
        : by === null
          ? `it ended with code ${code}`
          : `it was ended by ${by}`;
      const text = said.toString().trim();
      return resolve(text === '' ? how : `${how}: ${text}`);
    });
  });
}
