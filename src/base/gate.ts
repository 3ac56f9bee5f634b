// Work that can be made to wait: while the gate is closed nothing new begins, and whoever closed it knows when nothing is under way any more.

/** See the file's head. */
export class Gate {
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;
  #open: () => void = () => undefined;

  /** Runs `work` as soon as the gate is open; settles as it does. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed;
    const result = work();
    this.#running.add(result);
    return result.finally(() => this.#running.delete(result));
  }

  /** Lets what comes from now on wait until open(); resolves when what is under way has ended, however it ended. */
  async close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => (this.#open = resolve));
    await Promise.allSettled(this.#running);
  }

  open(): void {
    this.#closed = undefined;
    this.#open();
  }
}
