import { describe, expect, it } from 'vitest';
import { Probation } from '../../src/policy/probation.js';

const bounds = { failures: 3, maxErrorRate: 0.1, minRequests: 20 };
const well = (requests: number, failed: number) => ({ requests, failed });
const unwell = { problem: 'no answer', requests: 0, failed: 0 };

describe('a probation', () => {
  it('counts what is wrong in a row only', () => {
    const probation = new Probation(bounds);
    const verdicts = [unwell, unwell, well(0, 0), unwell, unwell, unwell].map((look) =>
      probation.judge(look),
    );
    expect(verdicts.slice(0, 5)).toEqual(Array(5).fill(undefined));
    expect(verdicts[5]).toBe('unwell 3 times in a row: no answer');
  });

  it('judges the requests since it began, and only when there are enough', () => {
    const probation = new Probation(bounds);
    expect(probation.judge(well(1_000, 900))).toBeUndefined();
    expect(probation.judge(well(1_019, 919))).toBeUndefined();
    expect(probation.judge(well(1_020, 902))).toBeUndefined();
    expect(probation.judge(well(1_020, 903))).toBe(
      '3 of 20 requests failed, more than probation.maxErrorRate, 0.1',
    );
  });

  it('begins to count anew with an agent that does', () => {
    const probation = new Probation(bounds);
    expect(probation.judge(well(1_000, 0))).toBeUndefined();
    expect(probation.judge(well(10, 0))).toBeUndefined();
    expect(probation.judge(well(40, 20))).toContain('20 of 30');
  });
});
