// Builds the programs of native/bench with cmake, in a tree of their own and with the optimisation of the addon, and reads the lines that
// native/bench/measure.h prints.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const tree = join(root, 'build-micro');

/** Nanoseconds by operation, from all programs. Throws with the tool's words if one cannot be built or run. */
export function nativeCosts(): Record<string, number> {
  const programs = readdirSync(join(root, 'native', 'bench'))
    .filter((file) => file.endsWith('_bench.cc'))
    .map((file) => file.slice(0, -'.cc'.length));
  run('cmake', ['-S', join(root, 'native'), '-B', tree, '-DCMAKE_BUILD_TYPE=Release']);
  run('cmake', ['--build', tree, '--target', ...programs]);
  return Object.fromEntries(
    programs.flatMap((program) => Object.entries(readCosts(run(join(tree, program), [])))),
  );
}

/** `name  12.3 ns`, anything may follow; other lines are not figures. */
export function readCosts(output: string): Record<string, number> {
  const costs: Record<string, number> = {};
  for (const [, name, ns] of output.matchAll(/^(\S.*?) {2,}([\d.]+) ns\b/gm))
    costs[name as string] = Number(ns);
  return costs;
}

function run(command: string, args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (error !== undefined) throw new Error(`${command} could not be started: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return stdout;
}
