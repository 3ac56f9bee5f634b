/**
 * How long to wait before trying again: exponential with full jitter, so that many who failed together do not come
 * back together. Randomness is injected.
 */

/** Bounds of a backoff. */
export interface BackoffBounds {
  /** Longest wait before the first retry, in milliseconds. */
  baseMs: number;
  /** Longest wait before any retry, in milliseconds. */
  maxMs: number;
}

/**
 * @param attempt failures so far without a success, from 1
 * @param random uniform in [0, 1)
 * @returns milliseconds, at least 1, below min(maxMs, baseMs * 2^(attempt - 1)) + 1
 */
export function backoffMs(attempt: number, { baseMs, maxMs }: BackoffBounds, random: () => number): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(attempt, 1) - 1, 52));
  return Math.max(1, Math.floor(random() * (ceiling + 1)));
}
