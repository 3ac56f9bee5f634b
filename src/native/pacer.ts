// A clock for load generators: ticks at an absolute schedule that never drifts, however late the event loop is.
// Node's own timers are relative and in milliseconds, which would hide exactly the latency a benchmark looks for. Late
// ticks come as a count with the times at which they were due, so that a late start counts as latency.
import { loadAddon } from './load.js';

/** A running pacer. */
export interface Pacer {
  /** Distance of two ticks in nanoseconds: 1e9 / rate, rounded to whole nanoseconds. */
  readonly intervalNs: number;
  /** No tick comes after this. */
  stop(): void;
}

/**
 * Ticks `ratePerSecond` times a second until stopped; keeps the event loop alive.
 *
 * @param ratePerSecond - above 0, at most 1,000,000
 * @param onTick - `count` ticks became due since the last call (more than 1: the event loop was late); the first of
 *   them at `intendedNs`, the others each `intervalNs` after. The time is that of `process.hrtime.bigint()` as a number.
 * @throws RangeError for a rate out of range
 * @throws Error when the addon is not available
 */
export function startPacer(
  ratePerSecond: number,
  onTick: (count: number, intendedNs: number) => void,
): Pacer {
  return new (loadAddon().Pacer)(ratePerSecond, { onTick });
}
