// The benchmark's histogram against sorted samples: its promise is a bucket's width, whatever the distribution.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram } from '../../bench/measure/histogram.js';
import type { HistogramData } from '../../bench/measure/histogram.js';

function filled(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('a histogram', () => {
  it('is empty at first', () => {
    const { count, meanUs, maxUs } = new Histogram();
    expect([count, meanUs, maxUs, new Histogram().quantileUs(0.5)]).toEqual([0, 0, 0, 0]);
  });

  it('gives back every quantile within its accuracy', () => {
    const latency = fc.oneof(
      fc.double({ min: 0, max: 50, noNaN: true }),
      fc.double({ min: 0, max: 2e8, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.array(latency, { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, q) => {
          const sorted = values.toSorted((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] as number;
          const tolerance = Math.max(1 / 16, exact / 1000);
          expect(Math.abs(filled(values).quantileUs(q) - exact)).toBeLessThanOrEqual(tolerance);
        },
      ),
    );
  });

  it('keeps count, mean and maximum exactly', () => {
    const histogram = filled([10.25, 20.5, 1_000_000]);
    expect(histogram.count).toBe(3);
    expect(histogram.meanUs).toBeCloseTo(1_000_030.75 / 3, 9);
    expect(histogram.maxUs).toBe(1_000_000);
  });

  it('counts what is out of range at its ends', () => {
    const histogram = filled([-3, 1e12]);
    expect(histogram.quantileUs(0.5)).toBe(0);
    expect(histogram.quantileUs(1)).toBeCloseTo(2 ** 28, -6);
  });

  it('is the same after travelling, and merges as if all had been recorded in one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true })), { maxLength: 4 }),
        (parts) => {
          const travelled = parts.map(
            (part) => JSON.parse(JSON.stringify(filled(part).data())) as HistogramData,
          );
          const [merged, whole] = [Histogram.merge(travelled), filled(parts.flat())];
          expect(merged.data().pairs).toEqual(whole.data().pairs);
          expect([merged.count, merged.maxUs]).toEqual([whole.count, whole.maxUs]);
          expect(merged.meanUs).toBeCloseTo(whole.meanUs, 6);
        },
      ),
    );
  });

  it('forgets everything when cleared', () => {
    const histogram = filled([5, 6]);
    histogram.clear();
    expect(histogram.data()).toEqual({ count: 0, sumUs: 0, maxUs: 0, pairs: [] });
  });
});
