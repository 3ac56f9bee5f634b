/** Whether a new version stays: judges what was seen of it since it took over. Asked after each look (src/ops/watch-probation.ts). */

/** What was seen at one moment. */
export interface ProbationLook {
  /** What is wrong with the process; undefined if it is well. */
  problem?: string;
  /** Counters that only grow. */
  requests: number;
  failed: number;
}

export interface ProbationBounds {
  /** Looks in a row that find something wrong until it has failed. */
  failures: number;
  maxErrorRate: number;
  minRequests: number;
}

/** See the file's head. */
export class Probation {
  #unwell = 0;
  #first: ProbationLook | undefined;

  constructor(private readonly bounds: ProbationBounds) {}

  /** @returns why it has failed, or undefined as long as it has not */
  judge(look: ProbationLook): string | undefined {
    const { failures, maxErrorRate, minRequests } = this.bounds;
    if (look.problem !== undefined) {
      this.#unwell++;
      return this.#unwell < failures ? undefined : `unwell ${this.#unwell} times in a row: ${look.problem}`;
    }
    this.#unwell = 0;
    // An agent that was started anew counts from nothing.
    if (this.#first === undefined || look.requests < this.#first.requests) this.#first = look;
    const requests = look.requests - this.#first.requests;
    const failed = look.failed - this.#first.failed;
    if (requests < minRequests || failed / requests <= maxErrorRate) return undefined;
    return `${failed} of ${requests} requests failed, more than probation.maxErrorRate, ${maxErrorRate}`;
  }
}
