// How the user of this package builds its addon again: with the package manager of the project it is installed in, and from there. Asked only where the
// addon is missing (src/native/load.ts, native/install.mjs).
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { packageName } from './build-info.js';

const lockfiles = {
  pnpm: ['pnpm-lock.yaml'],
  yarn: ['yarn.lock'],
  npm: ['package-lock.json', 'npm-shrinkwrap.json'],
} as const;
type PackageManager = keyof typeof lockfiles;
const managers = Object.keys(lockfiles) as PackageManager[];

/**
 * @param home where this package lies
 * @returns for example `"pnpm rebuild @ringside/mesh" in /app`
 */
export function rebuildCommand(home: string, env: NodeJS.ProcessEnv = process.env): string {
  const at = `${home}${sep}`.indexOf(`${sep}node_modules${sep}`);
  // A work tree of our own, perhaps linked into a project.
  if (at < 0) return `"npm run build:native" in ${home.endsWith(sep) ? home.slice(0, -1) : home}`;
  const { project, locked } = projectAbove(home.slice(0, at) || sep);
  const asked = managers.find((manager) => env['npm_config_user_agent']?.startsWith(`${manager}/`));
  const manager =
    asked !== undefined && (locked.length === 0 || locked.includes(asked)) ? asked : (locked[0] ?? 'npm');
  return `"${commandOf(manager, project)}" in ${project}`;
}

/** The nearest folder with a lockfile, from `start` up; `start` itself where there is none. */
function projectAbove(start: string): { project: string; locked: PackageManager[] } {
  for (let project = start; ; project = dirname(project)) {
    const locked = managers.filter((manager) =>
      lockfiles[manager].some((file) => existsSync(join(project, file))),
    );
    if (locked.length > 0) return { project, locked };
    if (project === dirname(project)) return { project: start, locked };
  }
}

function commandOf(manager: PackageManager, project: string): string {
  // The first yarn has no command for it.
  if (manager === 'yarn' && isFirstYarn(join(project, 'yarn.lock'))) return 'yarn install --force';
  return `${manager} rebuild ${packageName}`;
}

function isFirstYarn(lockfile: string): boolean {
  try {
    return readFileSync(lockfile, 'utf8').includes('# yarn lockfile v1');
  } catch {
    return false;
  }
}
