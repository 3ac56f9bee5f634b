import { describe, expect, it } from 'vitest';
import { mayAct } from '../../src/policy/election.js';
import { ProbeRecord, decideLiveness } from '../../src/policy/liveness.js';
import type { Judged } from '../../src/policy/liveness.js';

const bounds = { failures: 3, successes: 2, maxShare: 0.5 };
const one = (id: string, verdict: Judged['verdict'], offline = false, service = 's'): Judged => ({
  ...{ id, service, verdict, offline },
});
const ids = (judged: readonly Judged[]): string => judged.map(({ id }) => id).join('');

describe('the record of a target', () => {
  it('says down and up after so many results in a row, and nothing in between', () => {
    const record = new ProbeRecord();
    const said = [false, false, true, false, false, false, true, true].map((alive) => {
      record.add(alive);
      return record.verdict(bounds);
    });
    expect(said).toEqual(['unsure', 'unsure', 'unsure', 'unsure', 'unsure', 'down', 'unsure', 'up']);
  });
});

describe('a round', () => {
  it('takes out what is down, keeps out what is not yet up, puts back what is', () => {
    const decision = decideLiveness(
      [
        ...[one('a', 'up'), one('b', 'down'), one('c', 'unsure', true), one('d', 'up', true)],
        ...[one('e', 'unsure'), one('f', 'up')],
      ],
      bounds,
    );
    expect([ids(decision.out), ids(decision.back), ids(decision.spared)]).toEqual(['cb', 'd', '']);
  });

  it('spares what would be more than the share of a service, and never takes the only instance', () => {
    const down = ['a', 'b', 'c'].map((id) => one(id, 'down'));
    const decision = decideLiveness(
      [...down, one('x', 'down', false, 'single'), one('y', 'up', false, 'z')],
      bounds,
    );
    expect([ids(decision.out), ids(decision.spared)]).toEqual(['a', 'bcx']);
  });

  it('spares what would be more than the share of all', () => {
    const services = ['p', 'q', 'r', 't'];
    const all = services.flatMap((service) => [
      ...[one(`${service}1`, 'down', false, service), one(`${service}2`, 'down', false, service)],
      ...[one(`${service}3`, 'up', false, service)],
    ]);
    expect(decideLiveness(all, { ...bounds, maxShare: 0.34 }).out).toHaveLength(4);
    expect(decideLiveness(all, { ...bounds, maxShare: 0.3 }).out).toHaveLength(0);
  });

  it('puts back what is out beyond the share, as when a service has shrunk', () => {
    const { back } = decideLiveness([one('a', 'down', true), one('b', 'down', true)], bounds);
    expect(ids(back)).toBe('b');
  });
});

describe('a watcher', () => {
  it('acts for three quarters of its lease, from when it asked', () => {
    const lease = { term: 1, askedMs: 1_000, leaseMs: 4_000 };
    expect([mayAct(null, 1_000), mayAct(lease, 3_999), mayAct(lease, 4_000)]).toEqual([false, true, false]);
  });
});
