// The deadline queue against a plain sorted list, on a fake clock.
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DeadlineQueue } from '../../src/sdk/deadlines.js';
import type { Expiring } from '../../src/sdk/deadlines.js';

interface Item extends Expiring {
  readonly name: number;
}

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => vi.useRealTimers());

test('any adding, removing and waiting: what is due goes, in order, never early, exactly once', () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 500 }) }),
    fc.record({ remove: fc.nat() }),
    fc.record({ wait: fc.integer({ min: 1, max: 200 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const gone: Item[] = [];
      const queue = new DeadlineQueue<Item>((item) => {
        expect(item.deadlineMs).toBeLessThanOrEqual(performance.now());
        expect(item.heapIndex).toBe(-1);
        gone.push(item);
      });
      let model: Item[] = [];
      let names = 0;
      for (const now of steps) {
        if ('add' in now) {
          const item = { name: names++, deadlineMs: performance.now() + now.add, heapIndex: -1 };
          model.push(item);
          queue.add(item);
        } else if ('remove' in now) {
          const [item] = model.splice(now.remove % Math.max(1, model.length), 1);
          if (item !== undefined) queue.remove(item);
          if (item !== undefined) queue.remove(item);
        } else {
          vi.advanceTimersByTime(now.wait);
          const due = model.filter((item) => item.deadlineMs <= performance.now() - 1);
          model = model.filter((item) => !gone.includes(item));
          expect(gone).toEqual(expect.arrayContaining(due));
        }
        expect(queue.size).toBe(model.filter((item) => !gone.includes(item)).length);
      }
      vi.advanceTimersByTime(1000);
      expect(queue.size).toBe(0);
      expect(gone.map((item) => item.deadlineMs)).toEqual(
        gone.map((item) => item.deadlineMs).sort((a, b) => a - b),
      );
      expect(vi.getTimerCount()).toBe(0);
    }),
  );
});

test('a thousand calls that end in time cost one timer', () => {
  const queue = new DeadlineQueue<Item>(() => expect.unreachable());
  const set = vi.spyOn(globalThis, 'setTimeout');
  for (let name = 0; name < 1000; name += 1) {
    const item = { name, deadlineMs: performance.now() + 5000, heapIndex: -1 };
    queue.add(item);
    queue.remove(item);
  }
  expect(set).toHaveBeenCalledTimes(1);
  queue.clear();
  expect(vi.getTimerCount()).toBe(0);
});

test('an item added by an expiry is kept', () => {
  const seen: number[] = [];
  const queue: DeadlineQueue<Item> = new DeadlineQueue<Item>((item) => {
    seen.push(item.name);
    if (item.name === 0) queue.add({ name: 1, deadlineMs: performance.now() + 10, heapIndex: -1 });
  });
  queue.add({ name: 0, deadlineMs: performance.now() + 10, heapIndex: -1 });
  vi.advanceTimersByTime(11);
  expect(seen).toEqual([0]);
  vi.advanceTimersByTime(11);
  expect(seen).toEqual([0, 1]);
});
