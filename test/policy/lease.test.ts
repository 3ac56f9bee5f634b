import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  afterPause,
  firstSeen,
  isLive,
  isRemovable,
  renewAfterMs,
  renewed,
  wasAway,
} from '../../src/policy/lease.js';

const LEASE_MS = 9_000;
const at = (monotonicMs: number, wallMs = 1_000_000 + monotonicMs) => ({ monotonicMs, wallMs });

describe('a lease', () => {
  it('seen first lasts as long as its age leaves', () => {
    const lease = firstSeen(1_000_000 - 4_000, LEASE_MS, at(0));
    expect(isLive(lease, at(4_999))).toBe(true);
    expect(isLive(lease, at(5_000))).toBe(false);
    expect(isRemovable(lease, at(13_999))).toBe(false);
    expect(isRemovable(lease, at(14_000))).toBe(true);
  });

  it('from the future or from long ago lasts one lease or none', () => {
    expect(firstSeen(9e12, LEASE_MS, at(0)).deadlineMs).toBe(LEASE_MS);
    expect(isLive(firstSeen(0, LEASE_MS, at(0)), at(0))).toBe(false);
  });

  it('renewed lasts a lease from the renewal, and never less than before', () => {
    const lease = firstSeen(1_000_000, LEASE_MS, at(0));
    expect(renewed(lease, 1_000_000 + 2_000, at(3_000)).deadlineMs).toBe(2_000 + LEASE_MS);
    expect(renewed(lease, 1_000_000 - 2_000, at(3_000)).deadlineMs).toBe(LEASE_MS);
  });

  it('that is renewed in time stays live whatever the wall clock does in between', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            passMs: fc.integer({ min: 1, max: LEASE_MS / 3 }),
            jumpMs: fc.integer({ min: -1e9, max: 1e9 }),
          }),
          { maxLength: 30 },
        ),
        (steps) => {
          let [monotonicMs, wallMs] = [0, 1e12];
          let lease = firstSeen(wallMs, LEASE_MS, { monotonicMs, wallMs });
          for (const { passMs, jumpMs } of steps) {
            monotonicMs += passMs;
            wallMs += passMs;
            const renewedAtMs = wallMs;
            wallMs += jumpMs;
            expect(isLive(lease, { monotonicMs, wallMs })).toBe(true);
            lease = renewed(lease, renewedAtMs, { monotonicMs, wallMs });
          }
        },
      ),
    );
  });

  it('that nobody renews ends, whatever the wall clock does', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), (jumpMs) => {
        const lease = firstSeen(1e12, LEASE_MS, { monotonicMs: 0, wallMs: 1e12 });
        expect(isLive(lease, { monotonicMs: LEASE_MS, wallMs: 1e12 + jumpMs })).toBe(false);
      }),
    );
  });

  it('gets as long as at any other time after its reader was away', () => {
    const lease = firstSeen(1_000_000, LEASE_MS, at(0));
    expect(wasAway(0, 2_000, LEASE_MS, at(5_000))).toBe(false);
    expect(wasAway(0, 2_000, LEASE_MS, at(5_001))).toBe(true);
    expect(afterPause(lease, at(60_000)).deadlineMs).toBe(60_000 + LEASE_MS);
    expect(afterPause({ ...lease, deadlineMs: 90_000 }, at(60_000)).deadlineMs).toBe(90_000);
  });

  it('is renewed three times in its length at least, not by all at once', () => {
    expect(renewAfterMs(LEASE_MS, () => 0.999_999)).toBeLessThanOrEqual(3_000);
    expect(renewAfterMs(LEASE_MS, () => 0)).toBeCloseTo(2_400);
  });
});
