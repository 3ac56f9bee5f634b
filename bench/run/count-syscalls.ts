// System calls of running processes, counted by perf while some work runs. It slows what it counts, so it is never done in a
// turn whose times are used.
import { setTimeout as sleep } from 'node:timers/promises';
import { AbsentError, executable } from '../paths/processes.js';
import type { Processes } from '../paths/processes.js';

const event = 'raw_syscalls:sys_enter';
/** perf says nothing when it has attached. */
const attachMs = 300;

/** Throws an AbsentError without perf or the right to use it. */
export async function countSyscalls(
  pids: readonly number[],
  processes: Processes,
  work: () => Promise<void>,
): Promise<number> {
  const perf = executable('perf');
  if (perf === undefined) throw new AbsentError('--syscalls needs perf (Debian: linux-perf)');
  const args = ['stat', '-x', ',', '-e', event, '-p', pids.join(',')];
  const counting = processes.program('perf', perf, args);
  await sleep(attachMs);
  if (counting.ended !== undefined)
    throw new AbsentError(`--syscalls: perf ${counting.ended}: ${counting.output}`);
  await work();
  await processes.end(counting, 'SIGINT');
  const count = Number(
    counting.output
      .split('\n')
      .find((line) => line.includes(event))
      ?.split(',')[0],
  );
  if (!Number.isFinite(count)) throw new AbsentError(`--syscalls: perf counted nothing: ${counting.output}`);
  return count;
}
