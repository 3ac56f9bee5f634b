/**
 * The clocks and timers that a registry runs on, injected so that tests move time instead of waiting. Timers of the
 * system clock do not keep the process alive: the agent's listeners do.
 */

/** See the file's head. */
export interface Clock {
  /** Milliseconds since 1970; may jump. */
  wallMs(): number;
  /** Milliseconds since some moment; never jumps, may stand still while the machine is suspended. */
  monotonicMs(): number;
  /** Calls back once after a while. @returns takes it back */
  after(delayMs: number, callback: () => void): () => void;
}

/** The clocks of this machine. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
