/**
 * Which process is meant, across the ops agent's own death: a process id alone may belong to another process by then, so its start time (of
 * this boot) goes with it. A process whose id could not be written down in time is found by a mark in its environment.
 */
import { readFileSync, readdirSync } from 'node:fs';

/** A process that cannot be mistaken for another one. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks from the boot to its start, and the boot's id. */
  startTicks: string;
  bootId: string;
}

/** Environment variable that carries the mark of a start. */
export const RUN_MARK = 'RINGSIDE_OPS_RUN';

/** The running process with this id; undefined where there is none, or only what is left of one that ended. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain anything; proc(5) counts the fields behind it from the third on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startTicks] = [fields[0], fields[19]];
    if (startTicks === undefined || state === 'Z' || state === 'X') return undefined;
    return { pid, startTicks, bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() };
  } catch {
    return undefined;
  }
}

/** Whether exactly this process still runs. */
export function isRunning({ pid, startTicks, bootId }: ProcessIdentity): boolean {
  const now = identityOf(pid);
  return now !== undefined && now.startTicks === startTicks && now.bootId === bootId;
}

/** The oldest running process of this user with the mark: a launcher passes its mark on to its children. */
export function findMarked(run: string): ProcessIdentity | undefined {
  const wanted = `${RUN_MARK}=${run}`;
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentHas(name, wanted))
    .flatMap((name) => identityOf(Number(name)) ?? []);
  return found.sort((a, b) => Number(a.startTicks) - Number(b.startTicks) || a.pid - b.pid)[0];
}

function environmentHas(pid: string, entry: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry);
  } catch {
    return false;
  }
}
