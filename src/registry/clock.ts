import { readFileSync, readlinkSync } from 'node:fs';

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
  /** Names that moment: processes with the same one may compare their `monotonicMs`. Null where that cannot be known. */
  readonly monotonicId: string | null;
  /** Calls back once after a while. @returns takes it back */
  after(delayMs: number, callback: () => void): () => void;
}

/** The clocks of this machine. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
  monotonicId: idOfThisBoot(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** The kernel's monotonic clock is one for a boot of the machine, but for containers that were given a time namespace. */
function idOfThisBoot(): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/time')}`;
  } catch {
    return null;
  }
}
