import { describe, expect, it } from 'vitest';
import { ProtectedList, isImplausible } from '../../src/policy/protection.js';

const listOf = (...ids: string[]) => new Map(ids.map((id) => [id, id]));
const nobody = () => false;
const serving = (list: ProtectedList<string>) => [...list.serving()].sort().join('');

describe('protection of a list', () => {
  it.each([
    [3, 0, 0.5, false],
    [1, 1, 0.5, false],
    [1, 2, 0.5, true],
    [0, 1, 0.5, true],
    [0, 5, 1, false],
    [9, 1, 0, true],
    [0, 0, 0, false],
  ])('%i listed, %i vanished, share %f: %s', (listed, vanished, share, expected) => {
    expect(isImplausible(listed, vanished, share)).toBe(expected);
  });

  it('lets few go at once and holds many, also when they vanish one by one', () => {
    const list = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    list.update(listOf('a', 'b', 'c', 'd'), nobody, 0);
    list.update(listOf('b', 'c', 'd'), nobody, 1);
    expect([serving(list), list.held]).toEqual(['bcd', 0]);
    list.update(listOf('c', 'd'), nobody, 2);
    expect(serving(list)).toBe('cd');
    list.update(listOf('d'), nobody, 3);
    expect([serving(list), list.held]).toEqual(['abcd', 3]);
  });

  it('holds the few as well whose owners may have had no chance, and only those', () => {
    const list = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    list.update(listOf('a', 'b', 'c', 'd', 'e', 'f'), nobody, 0);
    list.update(listOf('b', 'c', 'd', 'e', 'f'), nobody, 1);
    list.update(listOf('c', 'd', 'e', 'f'), nobody, 2, true);
    expect([serving(list), list.held]).toEqual(['bcdef', 1]);
    list.update(listOf('d', 'e', 'f'), nobody, 3);
    expect(serving(list)).toBe('bdef');
    list.update(listOf('b', 'd', 'e', 'f'), nobody, 4);
    expect([serving(list), list.held]).toEqual(['bdef', 0]);
    list.update(listOf('b', 'd', 'e'), (id) => id === 'f', 5, true);
    expect(serving(list)).toBe('bde');
  });

  it('never holds those that left, and lasts until the last is back or its time is over', () => {
    const list = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    list.update(listOf('a', 'b', 'c', 'd'), nobody, 0);
    list.update(new Map(), (id) => id === 'a', 1);
    expect(serving(list)).toBe('bcd');
    list.update(listOf('b', 'c'), nobody, 2);
    expect([serving(list), list.held]).toEqual(['bcd', 1]);
    expect(list.expire(100)).toBe(false);
    expect(list.expire(101)).toBe(true);
    expect([serving(list), list.held]).toEqual(['bc', 0]);
    // A new loss is judged by itself.
    list.update(listOf('b'), nobody, 200);
    expect(serving(list)).toBe('b');
  });

  it('goes on in another process as if nothing had happened, also from the middle of a loss', () => {
    const one = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    one.update(listOf('a', 'b', 'c', 'd'), nobody, 0);
    one.update(listOf('d'), nobody, 10);
    one.update(listOf(), nobody, 20);
    one.update(listOf('a', 'b'), nobody, 30);
    // On a clock that shows something else.
    const other = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    other.adopt(one.export(40), (id) => id, 1_040);
    expect([serving(other), other.held]).toEqual(['abcd', 2]);
    other.update(listOf('a', 'b'), nobody, 1_050);
    expect(serving(other)).toBe('abcd');
    expect(other.expire(1_109)).toBe(false);
    expect(other.expire(1_110)).toBe(true);
    expect(serving(other)).toBe('abd');
    expect(other.expire(1_120)).toBe(true);
    expect([serving(other), other.held]).toEqual(['ab', 0]);
  });

  it('a restart of everybody under other names is no loss', () => {
    const list = new ProtectedList<string>({ share: 0.5, holdMs: 100 });
    list.update(listOf('a', 'b'), nobody, 0);
    list.update(listOf('c', 'd'), nobody, 1);
    expect(serving(list)).toBe('cd');
  });
});
