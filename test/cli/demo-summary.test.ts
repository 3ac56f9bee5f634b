// The figures of the demo's table: what the agents add is judged within each round.
import { describe, expect, it } from 'vitest';
import type { DemoPath, RoundResult } from '../../src/cli/demo/messages.js';
import { quantile, summarize } from '../../src/cli/demo/summarize.js';

function result(path: DemoPath, us: number): RoundResult {
  const samples = [us - 10, us, us + 10];
  return {
    ...{ path, requests: 3, errors: 0, achievedRps: 1000 },
    fromSendUs: samples,
    fromIntendedUs: samples.map((sample) => sample + 100),
  };
}

describe('summary of the demo', () => {
  it('takes the median over rounds of the difference to direct in the same round', () => {
    // The machine is three times slower in the second round; the difference in it is an outlier.
    const rounds = [
      [result('direct', 50), result('tcp', 150), result('shm', 100)],
      [result('direct', 150), result('tcp', 450), result('shm', 400)],
      [result('direct', 60), result('tcp', 170), result('shm', 115)],
    ];
    const paths = summarize(rounds);
    expect(paths.shm.addedP50Us).toBe(55);
    expect(paths.tcp.addedMeanUs).toBe(110);
    expect(paths.direct.addedP50Us).toBe(0);
    expect(paths.shm.requests).toBe(9);
    expect(paths.shm.p50Us).toBe(115);
    expect(paths.shm.p99Us).toBeGreaterThan(500);
  });

  it('interpolates quantiles', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([7], 0.99)).toBe(7);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it('refuses a round in which a path is missing', () => {
    expect(() => summarize([[result('direct', 1)]])).toThrow(/no result for tcp/);
  });
});
