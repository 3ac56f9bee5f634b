// What the kernel says about running processes: time on a core, voluntary context switches, memory. Read before and after a turn, so that
// only the difference counts.
import { readFileSync, readdirSync } from 'node:fs';

/** Sums over all threads of some processes. */
export interface Consumption {
  /** User and system time. */
  cpuUs: number;
  /** How often a thread went to sleep by itself: each is followed by one wake-up. */
  wakeups: number;
}

export interface Memory {
  /** Private memory: heap, stacks. */
  anonBytes: number;
  /** Shared memory that is mapped and touched. */
  shmemBytes: number;
}

/** Throws if one of the processes is gone. */
export function consumptionOf(pids: readonly number[]): Consumption {
  const sum: Consumption = { cpuUs: 0, wakeups: 0 };
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const folder = `/proc/${pid}/task/${thread}`;
      const [runNs, status] = readThread(folder);
      sum.cpuUs += runNs / 1000;
      sum.wakeups += numberAfter(status, 'voluntary_ctxt_switches:');
    }
  }
  return sum;
}

export function memoryOf(pids: readonly number[]): Memory {
  const sum: Memory = { anonBytes: 0, shmemBytes: 0 };
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    sum.anonBytes += 1024 * numberAfter(status, 'RssAnon:');
    sum.shmemBytes += 1024 * numberAfter(status, 'RssShmem:');
  }
  return sum;
}

/** schedstat counts nanoseconds, where stat would count hundredths of a second. */
function readThread(folder: string): [runNs: number, status: string] {
  try {
    const [runNs] = readFileSync(`${folder}/schedstat`, 'utf8').split(' ');
    return [Number(runNs), readFileSync(`${folder}/status`, 'utf8')];
  } catch {
    // A thread that ended since the folder was listed.
    return [0, ''];
  }
}

function numberAfter(text: string, label: string): number {
  const at = text.indexOf(`\n${label}`);
  return at < 0 ? 0 : Number.parseInt(text.slice(at + label.length + 1), 10);
}
