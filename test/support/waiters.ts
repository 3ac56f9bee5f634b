// Waiting for something to become true, without polling: whoever changes what is waited for says so, and everybody who waits looks again.

export class Waiters {
  readonly #looks = new Set<() => void>();

  /** Resolves with the first answer of `check` that is neither undefined nor false; it is asked now and on every event. */
  waitFor<T>(check: () => T | undefined | false): Promise<T> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = check();
        if (found === undefined || found === false) return;
        this.#looks.delete(look);
        resolve(found);
      };
      this.#looks.add(look);
      look();
    });
  }

  /** Something has changed. */
  look(): void {
    for (const look of [...this.#looks]) look();
  }
}
