import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { waveEnds } from '../../src/policy/waves.js';

describe('waves', () => {
  it.each([
    ['1,10%,50%,100%', 10, [1, 5, 10]],
    ['1,10%,50%,100%', 200, [1, 20, 100, 200]],
    ['1,10%,50%,100%', 1, [1]],
    ['5', 8, [5, 8]],
    ['50%', 3, [2, 3]],
    ['3,2,100%', 4, [3, 4]],
    ['0.5%', 1000, [5, 1000]],
  ])('%s of %i', (text, total, ends) => {
    expect(waveEnds(text, total)).toEqual(ends);
  });

  it.each(['', '0', '-1', '101%', '1.5', 'x', '1,,2', '0%'])('refuse %j', (text) => {
    expect(() => waveEnds(text, 10)).toThrow('allowed:');
  });

  it('always grow and always reach all', () => {
    const part = fc.oneof(
      fc.integer({ min: 1, max: 500 }).map(String),
      fc.integer({ min: 1, max: 100 }).map((share) => `${share}%`),
    );
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 300 }),
        (parts, total) => {
          const ends = waveEnds(parts.join(','), total);
          expect(ends.at(-1)).toBe(total);
          expect(ends.every((end, i) => end > (ends[i - 1] ?? 0))).toBe(true);
        },
      ),
    );
  });
});
