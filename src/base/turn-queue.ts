// Work that must not overlap: each piece begins when those before it have ended, however they ended.

/** See the file's head. */
export class TurnQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` in its turn; settles as it does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Resolves when everything asked for so far has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
