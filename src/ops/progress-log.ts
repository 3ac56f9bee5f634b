/** What happened in the job under way or the last one, and who wants to hear of more: the source of `GET /v1/progress`. */
import type { Progress } from './api.js';

type Listener = (progress: Progress) => void;

/** See the file's head. Holds one entry for each step of one job. */
export class ProgressLog {
  #steps: Progress[] = [];
  readonly #listeners = new Set<Listener>();

  /** From the beginning of the job, of `downloading` only the latest. */
  get steps(): readonly Progress[] {
    return this.#steps;
  }

  tell(progress: Progress): void {
    const last = this.#steps.at(-1);
    if (last?.job !== progress.job) this.#steps = [];
    else if (last.step === progress.step) this.#steps.pop();
    this.#steps.push(progress);
    for (const listener of [...this.#listeners]) listener(progress);
  }

  /** @returns ends it */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}
