import { describe, expect, it } from 'vitest';
import type { DemoPath, RoundResult } from '../../src/cli/demo/messages.js';
import { quantile, summarize } from '../../src/cli/demo/summarize.js';

function result(path: DemoPath, fromSendUs: number[], more: Partial<RoundResult> = {}): RoundResult {
  const requests = fromSendUs.length;
  return { path, requests, errors: 0, achievedRps: 100, fromSendUs, fromIntendedUs: fromSendUs, ...more };
}

describe('the figures of the demo', () => {
  it('what the agents add is compared within a round: a machine that slows down from one to the next adds nothing', () => {
    const rounds = [100, 300, 1_000].map((directUs) => [
      result('direct', [directUs, directUs, directUs]),
      result('tcp', [directUs + 90, directUs + 90, directUs + 90]),
      result('shm', [directUs + 40, directUs + 40, directUs + 40]),
    ]);
    const { direct, tcp, shm } = summarize(rounds);
    expect(direct).toMatchObject({ addedP50Us: 0, addedMeanUs: 0, requests: 9, p50Us: 300 });
    expect(tcp).toMatchObject({ addedP50Us: 90, addedMeanUs: 90 });
    expect(shm).toMatchObject({ addedP50Us: 40, addedMeanUs: 40 });
  });

  it('one disturbed round does not move what the agents add', () => {
    const round = (addedUs: number): RoundResult[] => [
      result('direct', [100]),
      result('tcp', [200]),
      result('shm', [100 + addedUs]),
    ];
    expect(summarize([round(40), round(5_000), round(42)]).shm.addedP50Us).toBe(42);
  });

  it('p99 is read from when a call should have been sent, the rest from when it was', () => {
    const { shm } = summarize([
      [
        result('direct', [1]),
        result('tcp', [1]),
        result('shm', [10, 20, 30], { fromIntendedUs: [10, 20, 9_000], errors: 2, achievedRps: 50.04 }),
      ],
    ]);
    expect(shm).toMatchObject({ p50Us: 20, meanUs: 20, errors: 2, achievedRps: 50 });
    expect(shm.p99Us).toBeGreaterThan(8_000);
  });

  it('a round that lacks a path is no round', () => {
    expect(() => summarize([[result('direct', [1])]])).toThrow('no result for tcp');
  });
});

it('quantiles are interpolated between the two nearest values', () => {
  expect([0, 0.5, 0.75, 1].map((q) => quantile([10, 20, 40], q))).toEqual([10, 20, 30, 40]);
  expect(quantile([], 0.5)).toBeNaN();
});
