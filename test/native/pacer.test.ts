// The pacer keeps an absolute schedule: no tick is lost or invented, however late the loop is.
import { describe, expect, it } from 'vitest';
import { startPacer } from '../../src/native/pacer.js';

interface Tick {
  count: number;
  intendedNs: number;
  seenNs: number;
}

/** Ticks until `enough`, stopped from inside the last one. */
function collect(
  ratePerSecond: number,
  enough: (ticks: Tick[]) => boolean,
): Promise<{ ticks: Tick[]; intervalNs: number }> {
  return new Promise((resolve) => {
    const ticks: Tick[] = [];
    const pacer = startPacer(ratePerSecond, (count, intendedNs) => {
      ticks.push({ count, intendedNs, seenNs: Number(process.hrtime.bigint()) });
      if (!enough(ticks)) return;
      pacer.stop();
      pacer.stop();
      const seen = ticks.length;
      setTimeout(() => {
        expect(ticks).toHaveLength(seen);
        resolve({ ticks, intervalNs: pacer.intervalNs });
      }, 10);
    });
  });
}

function expectOneSchedule(ticks: Tick[], intervalNs: number): void {
  let due = ticks[0]?.intendedNs ?? NaN;
  for (const tick of ticks) {
    expect(tick.count).toBeGreaterThanOrEqual(1);
    expect(tick.intendedNs).toBe(due);
    const last = due + (tick.count - 1) * intervalNs;
    expect(last).toBeLessThanOrEqual(tick.seenNs);
    due += tick.count * intervalNs;
  }
}

describe('a pacer', () => {
  it('ticks at absolute times of the clock of process.hrtime', async () => {
    const before = Number(process.hrtime.bigint());
    const { ticks, intervalNs } = await collect(1000, (all) => all.length >= 30);
    expect(intervalNs).toBe(1_000_000);
    expect(ticks[0]?.intendedNs).toBeGreaterThanOrEqual(before + intervalNs);
    expectOneSchedule(ticks, intervalNs);
  });

  it('counts what a blocked loop missed', async () => {
    const { ticks, intervalNs } = await collect(2000, (all) => {
      if (all.length === 3) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      return all.length >= 6;
    });
    expect(intervalNs).toBe(500_000);
    expect(ticks[3]?.count).toBeGreaterThanOrEqual(99);
    expectOneSchedule(ticks, intervalNs);
  });

  it('rounds the interval to whole nanoseconds', async () => {
    const { ticks, intervalNs } = await collect(30_000, (all) => all.length >= 50);
    expect(intervalNs).toBe(33_333);
    expectOneSchedule(ticks, intervalNs);
  });

  it.each([0, -1, NaN, Infinity, 1_000_001])('refuses the rate %d', (rate) => {
    expect(() => startPacer(rate, () => {})).toThrow(RangeError);
  });

  it('refuses what is no function', () => {
    expect(() => startPacer(1, undefined as unknown as () => void)).toThrow(/onTick/);
  });
});
