// Steps of a handoff (docs/upgrade.md) at which a test ends or stops one of the two processes, whichever has it in its environment
// (handoff-steps.c does it, in the process).
import { readFileSync } from 'node:fs';
import { compilePreloaded } from './preloaded.js';
import type { RunningProcess } from './running-process.js';
import { until } from './until.js';

const steps = ['hello', 'offer', 'ready', 'descriptors', 'received', 'state', 'taken'] as const;
const whens = { 'about to send': 's', sent: 'S', received: 'R' };

/** Such as `received offer`. */
export type HandoffStep = `${keyof typeof whens} ${(typeof steps)[number]}`;
export type StepFate = 'kill' | 'stop';

/** See the file's head. */
export class HandoffSteps {
  readonly #library: string;

  constructor(directory: string) {
    this.#library = compilePreloaded('handoff-steps', directory);
  }

  /** For the environment of a process that is to end or stop there, once. */
  env(step: HandoffStep, fate: StepFate): Record<string, string> {
    const at = step.lastIndexOf(' ');
    const when = whens[step.slice(0, at) as keyof typeof whens];
    const number = steps.indexOf(step.slice(at + 1) as (typeof steps)[number]) + 1;
    return { LD_PRELOAD: this.#library, TEST_HANDOFF_STEP: `${when}${number}${fate === 'kill' ? 'k' : 's'}` };
  }

  /** For the environment of a new process that claims to read these versions of the state. */
  versions(oldest: number, newest: number): Record<string, string> {
    return { LD_PRELOAD: this.#library, TEST_HANDOFF_VERSIONS: `${oldest}${newest}` };
  }
}

/** Resolves when the process is stopped by a signal. */
export async function stopped(process: RunningProcess): Promise<void> {
  await until(`${process.name} to be stopped`, () => {
    if (process.ending) throw new Error(`${process.name} has ended\n${process.output}`);
    return / T /.test(readFileSync(`/proc/${process.pid}/stat`, 'utf8').replace(/^.*\)/s, ''));
  });
}
