// Keeps every core from halting with a loop of the idle scheduling class, which runs only when nothing else wants the core and gives
// it up at once. The difference to a run without it is the price of waking a halted core, which is the machine's and not
// the software's.
import { availableParallelism } from 'node:os';
import type { Processes } from '../paths/processes.js';
import { executable } from '../paths/processes.js';

const loop = 'while :; do :; done';

/** Starts one loop on each core; they end with the other processes of the run. Throws where a command is missing. */
export function keepAwake(processes: Processes): void {
  for (const command of ['chrt', 'taskset']) {
    if (executable(command) === undefined) throw new Error(`--keep-awake needs ${command} (util-linux)`);
  }
  for (let core = 0; core < availableParallelism(); core++) {
    processes.program(`spinner of core ${core}`, 'taskset', [
      '--cpu-list',
      String(core),
      'chrt',
      '--idle',
      '0',
      'sh',
      '-c',
      loop,
    ]);
  }
}
