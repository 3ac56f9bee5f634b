/**
 * Reading the engine's latency sketches: DDSketch with a relative accuracy of 2%. Bucket i holds the values v with
 * gamma^(i-1) < v <= gamma^i microseconds, bucket 0 everything up to 1 us. The engine hands out only the buckets
 * that are not empty, as pairs (index, count); the agent turns them into what the admin server and metrics show.
 * Nothing here trusts an order of the pairs or that an index comes once.
 */

/** Half-width of a bucket relative to its value. */
export const SKETCH_ACCURACY = 0.02;
const GAMMA = (1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY);
const LOG_GAMMA = Math.log(GAMMA);

/** The buckets of a sketch that are not empty: [bucket index, count]. */
export type SketchPairs = readonly (readonly [index: number, count: number])[];

/** What is shown of a latency distribution; times in microseconds, 0 where nothing was counted. */
export interface LatencySummary {
  count: number;
  sumUs: number;
  p50Us: number;
  p90Us: number;
  p99Us: number;
  p999Us: number;
}

/** The bucket that a latency in microseconds falls into; the same rule as the engine's. */
export function bucketOf(valueUs: number): number {
  return valueUs <= 1 ? 0 : Math.ceil(Math.log(valueUs) / LOG_GAMMA);
}

/** The value in microseconds that stands for every value of a bucket, at most 2% off any of them (bucket 0: 1 us). */
export function valueOfBucket(index: number): number {
  return index <= 0 ? 1 : (2 * GAMMA ** index) / (GAMMA + 1);
}

/** How many values a sketch holds. */
export function countOf(pairs: SketchPairs): number {
  let count = 0;
  for (const [, bucketCount] of pairs) count += bucketCount;
  return count;
}

/**
 * The q-quantile in microseconds, at most 2% off the exact one of rank `ceil(q * count)`; 0 if the sketch is empty.
 * @param q from 0 to 1
 */
export function quantile(pairs: SketchPairs, q: number): number {
  return quantileOfSorted(sorted(pairs), countOf(pairs), q);
}

/** One sketch that holds the values of all of them, sorted by index, each index once. */
export function merge(...sketches: readonly SketchPairs[]): [index: number, count: number][] {
  const counts = new Map<number, number>();
  for (const pairs of sketches) {
    for (const [index, count] of pairs) counts.set(index, (counts.get(index) ?? 0) + count);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/** Mean from the exact sum and count, which the engine keeps beside the sketch; 0 if nothing was counted. */
export function mean(sumUs: number, count: number): number {
  return count > 0 ? sumUs / count : 0;
}

/** Everything that is shown of a sketch, sorted once. */
export function summarize(pairs: SketchPairs, sumUs: number): LatencySummary {
  const ordered = sorted(pairs);
  const count = countOf(ordered);
  const at = (q: number): number => quantileOfSorted(ordered, count, q);
  return { count, sumUs, p50Us: at(0.5), p90Us: at(0.9), p99Us: at(0.99), p999Us: at(0.999) };
}

function sorted(pairs: SketchPairs): SketchPairs {
  return [...pairs].sort((a, b) => a[0] - b[0]);
}

function quantileOfSorted(pairs: SketchPairs, count: number, q: number): number {
  if (count === 0) return 0;
  const rank = Math.max(1, Math.ceil(Math.min(1, Math.max(0, q)) * count));
  let seen = 0;
  for (const [index, bucketCount] of pairs) {
    seen += bucketCount;
    if (seen >= rank) return valueOfBucket(index);
  }
  return valueOfBucket(pairs.at(-1)?.[0] ?? 0);
}
