// The table of pending calls: ids find their call once, and never another call that uses the same slot later.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PendingCall, PendingCalls } from '../../src/sdk/pending-calls.js';

const call = (): PendingCall =>
  new PendingCall(
    0,
    () => undefined,
    () => undefined,
  );

test('any order of adding and removing: each id finds its own call, once', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { nil: undefined }), { maxLength: 200 }), (steps) => {
      const table = new PendingCalls(8);
      const open: PendingCall[] = [];
      const ids = new Set<string>();
      for (const take of steps) {
        if (take === undefined) {
          expect(table.full).toBe(open.length === 8);
          if (table.full) continue;
          const added = call();
          table.add(added);
          expect(ids.has(`${added.idHi} ${added.idLo}`)).toBe(false);
          ids.add(`${added.idHi} ${added.idLo}`);
          open.push(added);
        } else if (open.length > 0) {
          const [wanted] = open.splice(take % open.length, 1);
          expect(table.find(wanted!.idLo, wanted!.idHi)).toBe(wanted);
          table.remove(wanted!);
          expect(table.find(wanted!.idLo, wanted!.idHi)).toBeUndefined();
        }
        expect(table.count).toBe(open.length);
      }
      expect(new Set(table.takeAll())).toEqual(new Set(open));
      expect(table.count).toBe(0);
    }),
  );
});

test('ids stay unlike each other past 65,536 uses of one slot', () => {
  const table = new PendingCalls(1);
  const first = call();
  table.add(first);
  table.remove(first);
  let last = first;
  for (let i = 0; i < 65_536; i += 1) {
    last = call();
    table.add(last);
    if (i < 65_535) table.remove(last);
  }
  expect(last.idLo).toBe(first.idLo);
  expect(last.idHi).toBe(first.idHi + 1);
  expect(table.find(first.idLo, first.idHi)).toBeUndefined();
});

test('ids that no call has find nothing', () => {
  const table = new PendingCalls(4);
  expect(table.find(0, 0)).toBeUndefined();
  expect(table.find(0xffffffff, 0xffffffff)).toBeUndefined();
});

test('the capacity must be sensible', () => {
  for (const capacity of [0, -1, 1.5, 65_537, Number.NaN])
    expect(() => new PendingCalls(capacity)).toThrow(RangeError);
});
