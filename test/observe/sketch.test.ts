import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bucketOf,
  countOf,
  mean,
  merge,
  quantile,
  SKETCH_ACCURACY,
  summarize,
  valueOfBucket,
} from '../../src/observe/sketch.js';

function sketchOf(valuesUs: readonly number[]): [number, number][] {
  const counts = new Map<number, number>();
  for (const value of valuesUs) counts.set(bucketOf(value), (counts.get(bucketOf(value)) ?? 0) + 1);
  return [...counts];
}

const latencies = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 200 }), fc.double({ min: 1, max: 1e9, noNaN: true })),
  { minLength: 1, maxLength: 200 },
);

describe('a sketch', () => {
  it('gives every quantile with 2% at most of error', () => {
    fc.assert(
      fc.property(latencies, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const exact = [...values].sort((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1] ?? 0;
        const error = Math.abs(quantile(sketchOf(values), q) - exact) / exact;
        expect(error).toBeLessThanOrEqual(SKETCH_ACCURACY + 1e-9);
      }),
    );
  });

  it('follows the rule of the buckets: gamma^(i-1) < v <= gamma^i, 1 us and less in bucket 0', () => {
    const gamma = 1.02 / 0.98;
    for (const value of [0, 0.5, 1]) expect(bucketOf(value)).toBe(0);
    expect(bucketOf(1.0001)).toBe(1);
    fc.assert(
      fc.property(fc.double({ min: 1.001, max: 1e9, noNaN: true }), (value) => {
        const index = bucketOf(value);
        expect(gamma ** (index - 1)).toBeLessThan(value * (1 + 1e-12));
        expect(value).toBeLessThanOrEqual(gamma ** index * (1 + 1e-12));
        expect(valueOfBucket(index)).toBeCloseTo((2 * gamma ** index) / (gamma + 1), 6);
      }),
    );
  });

  it('merged is the sketch of all values, in order, whatever order the parts had', () => {
    fc.assert(
      fc.property(latencies, latencies, (a, b) => {
        const together = sketchOf([...a, ...b]).sort((x, y) => x[0] - y[0]);
        expect(merge(sketchOf(a).reverse(), sketchOf(b))).toEqual(together);
      }),
    );
    expect(merge()).toEqual([]);
    expect(
      merge([
        [3, 4_294_967_295],
        [3, 4_294_967_295],
      ]),
    ).toEqual([[3, 8_589_934_590]]);
  });

  it('summarized agrees with each part', () => {
    const values = Array.from({ length: 1_000 }, (_, i) => i + 1);
    const sum = values.reduce((total, value) => total + value, 0);
    const pairs = sketchOf(values).reverse();
    expect(summarize(pairs, sum)).toEqual({
      count: 1_000,
      sumUs: sum,
      p50Us: quantile(pairs, 0.5),
      p90Us: quantile(pairs, 0.9),
      p99Us: quantile(pairs, 0.99),
      p999Us: quantile(pairs, 0.999),
    });
    expect(quantile(pairs, 0.99) / 990).toBeCloseTo(1, 1);
    expect(countOf(pairs)).toBe(1_000);
    expect(mean(sum, 1_000)).toBe(500.5);
  });

  it('that is empty is 0 everywhere', () => {
    expect(summarize([], 0)).toEqual({ count: 0, sumUs: 0, p50Us: 0, p90Us: 0, p99Us: 0, p999Us: 0 });
    expect(mean(0, 0)).toBe(0);
    expect(quantile([[5, 0]], 0.5)).toBe(0);
  });
});
