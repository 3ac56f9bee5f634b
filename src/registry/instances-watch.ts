/** One watch on the instances of a service, as every registry keeps it: its listener is told what changed for its group, and nothing twice. */
import { errorText } from '../base/errors.js';
import { takesIn } from '../policy/endpoints-of.js';
import type { Instance } from './instance.js';
import type { ProblemBoard } from './problem-board.js';
import type { InstancesListener } from './registry.js';

/** See the file's head. */
export class InstancesWatch {
  #told: readonly Instance[] | null = null;

  constructor(
    private readonly group: string | undefined,
    private readonly listener: InstancesListener,
    private readonly board: ProblemBoard,
  ) {}

  /** How many instances the listener knows. */
  get toldCount(): number {
    return this.#told?.length ?? 0;
  }

  /** Tells the listener which of `all`, the service's instances sorted by id, concern it; nothing if it knows. */
  tell(all: readonly Instance[]): void {
    const list = all.filter(({ group }) => takesIn(this.group, group));
    if (this.#told?.length === list.length && list.every((instance, i) => instance === this.#told?.[i]))
      return;
    this.#told = Object.freeze(list);
    try {
      this.listener(this.#told);
      this.board.set('listener', null);
    } catch (error) {
      // One listener's fault must not keep the news from the others.
      this.board.set('listener', `a watcher of the registry failed: ${errorText(error)}`);
    }
  }
}
