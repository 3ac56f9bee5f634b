// npm and npx run a command in a shell. A SIGTERM to npm ends the two of them and never reaches the command, which would go on with nobody to
// end it. Where npm's mark in the environment says that it started this process, the process watches for npm's end instead. Called once by the
// command line, before anything is started: children must not take npm's mark for theirs.
import { readFileSync } from 'node:fs';
import { RUN_MARK } from '../ops/process-identity.js';

/** How often npm is looked for. Only a parent is told of an end, so there is nothing to wait for. */
const lookMs = 250;

/** What npm, pnpm and yarn set for what they run: the script's name, `npx` for npm exec. */
const mark = 'npm_lifecycle_event';

const shells = ['sh', 'dash', 'ash', 'bash', 'zsh', 'ksh'];
/** Between npm and this process. */
const maxShells = 8;

/** Who must go on so that this process does: each with its parent, from this process up to npm. */
export type NpmParents = readonly { readonly pid: number; readonly parent: number }[];

/**
 * The processes by which npm started this one. Takes npm's mark out of the environment.
 * @returns undefined if npm did not, or if this process is to outlive whoever started it: a daemon, an agent of an ops agent
 */
export function takeNpmParents(env: NodeJS.ProcessEnv = process.env): NpmParents | undefined {
  const marked = env[mark] !== undefined;
  delete env[mark];
  delete env['npm_command'];
  // A session is made (setsid) for a daemon.
  if (!marked || env[RUN_MARK] !== undefined || factsOf(process.pid)?.session === process.pid)
    return undefined;
  const parents = [{ pid: process.pid, parent: process.ppid }];
  if (process.ppid === 1) return undefined;
  for (let pid = process.ppid; parents.length <= maxShells;) {
    const facts = factsOf(pid);
    if (facts === undefined || !shells.includes(facts.name)) break;
    parents.push({ pid, parent: facts.parent });
    pid = facts.parent;
  }
  return parents;
}

/** Calls `ended` once when npm, or a shell between it and this process, has ended. Keeps no process alive. */
export function onNpmEnd(parents: NpmParents, ended: () => void): void {
  const looking = setInterval(() => {
    const whole = parents.every(({ pid, parent }) => parentOf(pid) === parent);
    if (whole) return;
    clearInterval(looking);
    ended();
  }, lookMs);
  looking.unref();
}

function parentOf(pid: number): number | undefined {
  return pid === process.pid ? process.ppid : factsOf(pid)?.parent;
}

/** What proc(5) says of a process; undefined where there is none, or no such file system. */
function factsOf(pid: number): { name: string; parent: number; session: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    // Behind the name in parentheses come state, parent, process group, session.
    const [, parent, , session] = stat.slice(end + 2).split(' ');
    return { name: stat.slice(stat.indexOf('(') + 1, end), parent: Number(parent), session: Number(session) };
  } catch {
    return undefined;
  }
}
