import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../src/policy/backoff.js';
import { balancerOf } from '../../src/policy/balancer-of.js';
import { endpointsOf, takesIn } from '../../src/policy/endpoints-of.js';
import { TokenBucket } from '../../src/policy/token-bucket.js';

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backoff', () => {
  it('stays within its ceiling, which doubles up to the maximum', () => {
    fc.assert(
      fc.property(fc.integer({ min: -5, max: 10_000 }), unit, (attempt, random) => {
        const ms = backoffMs(attempt, { baseMs: 100, maxMs: 5_000 }, () => random);
        expect(ms).toBeGreaterThanOrEqual(1);
        expect(ms).toBeLessThanOrEqual(Math.min(5_000, 100 * 2 ** (Math.max(attempt, 1) - 1)));
      }),
    );
  });

  it('has full jitter: from next to nothing to the ceiling', () => {
    const bounds = { baseMs: 100, maxMs: 5_000 };
    expect([1, 2, 3, 20].map((attempt) => backoffMs(attempt, bounds, () => 0.999_999))).toEqual([
      100, 200, 400, 5_000,
    ]);
    expect(backoffMs(20, bounds, () => 0)).toBe(1);
  });
});

describe('the choice of a balancer', () => {
  const choice = { default: 'p2c', services: { orders: 'round-robin' } } as const;
  it.each([
    ['orders', 'round-robin'],
    ['stock', 'p2c'],
    ['constructor', 'p2c'],
    ['__proto__', 'p2c'],
  ])('%s gets %s', (service, balancer) => {
    expect(balancerOf<string>(service, choice)).toBe(balancer);
  });
});

describe('endpoints of a list of instances', () => {
  const instance = (id: string, change = {}) => ({
    id,
    group: '',
    version: '',
    host: '10.0.0.1',
    port: 1,
    weight: 100,
    protocols: ['mesh/1'],
    ...change,
  });
  const idsOf = (wanted: object, ...instances: ReturnType<typeof instance>[]) =>
    endpointsOf(instances, { protocols: ['mesh/1', 'redis'], ...wanted }).map(({ id }) => id);

  it('are those of the wanted group and version that take traffic and speak the protocol, by id', () => {
    const all = [
      instance('d'),
      instance('a', { group: 'red' }),
      instance('b', { group: 'blue', version: '2' }),
      instance('out', { weight: 0 }),
      instance('foreign', { protocols: ['mesh/9'] }),
      instance('c', { protocols: ['mesh/9', 'mesh/1'] }),
    ];
    expect(idsOf({}, ...all)).toEqual(['a', 'b', 'c', 'd']);
    expect(idsOf({ group: '' }, ...all)).toEqual(['a', 'b', 'c', 'd']);
    expect(idsOf({ group: '*' }, ...all)).toEqual(['a', 'b', 'c', 'd']);
    expect(idsOf({ group: 'red' }, ...all)).toEqual(['a']);
    expect(idsOf({ group: 'green' }, ...all)).toEqual([]);
    expect(idsOf({ version: '2' }, ...all)).toEqual(['b']);
    expect(idsOf({ group: 'red', version: '2' }, ...all)).toEqual([]);
  });

  it('hold what the engine needs and nothing else', () => {
    expect(endpointsOf([instance('a', { weight: 7 })], { protocols: ['mesh/1', 'redis'] })).toEqual([
      { id: 'a', host: '10.0.0.1', port: 1, weight: 7, protocol: 'mesh/1' },
    ]);
  });

  it('are spoken to in the newest protocol that both sides know', () => {
    const all = [
      instance('a', { protocols: ['redis', 'mesh/1'] }),
      instance('b', { protocols: ['redis'] }),
      instance('c', { protocols: ['mesh/9'] }),
    ];
    const endpoints = endpointsOf(all, { protocols: ['mesh/1', 'redis'] });
    expect(endpoints.map(({ id, protocol }) => [id, protocol])).toEqual([
      ['a', 'mesh/1'],
      ['b', 'redis'],
    ]);
  });

  it('do not depend on the order of the list', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 20 }), (ids) => {
        const instances = ids.map((id) => instance(id));
        const wanted = { protocols: ['mesh/1', 'redis'] };
        expect(endpointsOf([...instances].reverse(), wanted)).toEqual(endpointsOf(instances, wanted));
      }),
    );
  });

  it('of a group: all take in all, a name takes in itself', () => {
    for (const wanted of [undefined, '', '*', 'red']) expect(takesIn(wanted, 'red')).toBe(true);
    for (const own of ['', '*', 'blue']) expect(takesIn('red', own)).toBe(false);
  });
});

describe('a token bucket', () => {
  it('lets a burst through, then the rate', () => {
    const bucket = new TokenBucket(10, 3, 0);
    expect([0, 0, 0, 0].map((ms) => bucket.take(ms))).toEqual([true, true, true, false]);
    expect(bucket.take(99)).toBe(false);
    expect(bucket.take(100)).toBe(true);
    expect(bucket.take(100)).toBe(false);
    expect([1e9, 1e9, 1e9, 1e9].map((ms) => bucket.take(ms))).toEqual([true, true, true, false]);
  });

  it('takes all or nothing', () => {
    const bucket = new TokenBucket(10, 3, 0);
    expect(bucket.take(0, 4)).toBe(false);
    expect(bucket.take(0, 3)).toBe(true);
  });

  it('never gives more than burst and rate, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 10_000 }), { maxLength: 300 }), (times) => {
        const bucket = new TokenBucket(5, 10, 0);
        const taken = times.filter((ms) => bucket.take(ms)).length;
        expect(taken).toBeLessThanOrEqual(10 + (5 * Math.max(0, ...times)) / 1000);
      }),
    );
  });
});
