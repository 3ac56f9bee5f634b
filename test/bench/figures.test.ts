// From turns to figures: which moment each figure counts from, and that what a path adds is found round by round.
import { describe, expect, it } from 'vitest';
import { figuresOf, median, spread } from '../../bench/measure/figures.js';
import type { PathFigures } from '../../bench/measure/figures.js';
import { turn } from './turns.js';

const plan = { bodyBytes: 1024 };
const constant = (us: number, count = 100): number[] => Array.from({ length: count }, () => us);
const of = (figures: Record<string, PathFigures>, path: string): PathFigures => figures[path] as PathFigures;

describe('figures of a path', () => {
  it('count median and mean from the send, high percentiles from the intended moment', () => {
    const figures = of(figuresOf([[turn('shm', constant(50), { lateUs: 30 })]], plan), 'shm');
    expect(figures.p50Us).toBeCloseTo(50, 0);
    expect(figures.p90Us).toBeCloseTo(50, 0);
    expect(figures.meanUs).toBeCloseTo(50, 6);
    expect(figures.p99Us).toBeCloseTo(80, 0);
    expect(figures.p999Us).toBeCloseTo(80, 0);
    expect(figures.latenessP99Us).toBeCloseTo(30, 0);
  });

  it('draw a curve only as far as there are requests above it', () => {
    const { curve } = of(figuresOf([[turn('shm', constant(50, 200))]], plan), 'shm');
    expect(curve.at(0)?.[0]).toBe(0);
    expect(curve.at(-1)?.[0]).toBe(99.5);
  });

  it('have no lateness in a closed loop', () => {
    const figures = of(figuresOf([[turn('shm', constant(50))]], plan), 'shm');
    expect(figures.p99Us).toBeCloseTo(50, 0);
    expect(figures).not.toHaveProperty('latenessP50Us');
  });

  it('are per request that was answered, over all rounds', () => {
    const rounds = [[turn('shm', constant(50, 100), { errors: 3 })], [turn('shm', constant(50, 300))]];
    const figures = of(figuresOf(rounds, plan), 'shm');
    expect(figures).toMatchObject({ requests: 403, errors: 3, firstError: 'no way' });
    expect(figures.proxyCpuUsPerRequest).toBe(40);
    expect(figures.wakeupsPerRequest).toBe(4);
    expect(figures.appCpuUsPerRequest).toBe(60);
    expect([figures.proxyRssMb, figures.proxyRssShmemMb]).toEqual([1, 2]);
  });

  it('tell throughput as the median over rounds, and bytes of both directions', () => {
    const rounds = [100, 2000, 300].map((count) => [turn('shm', constant(50, count), { seconds: 2 })]);
    const figures = of(figuresOf(rounds, plan), 'shm');
    expect(figures.throughputRps).toBe(150);
    expect(figures.achievedRps).toBe(400);
    expect(figures.mbPerSecond).toBeCloseTo((150 * 2048) / 2 ** 20, 9);
  });
});

describe('what a path adds', () => {
  it('is the median of the differences within each round', () => {
    // The machine is twice as slow in the second round; the differences are 30, 60 and 34.
    const rounds = [
      [turn('direct', constant(100)), turn('shm', constant(130))],
      [turn('shm', constant(260)), turn('direct', constant(200))],
      [turn('direct', constant(100)), turn('shm', constant(134))],
    ];
    const figures = figuresOf(rounds, plan);
    expect(of(figures, 'shm').addedP50Us).toBeCloseTo(34, 0);
    expect(of(figures, 'shm').addedMeanUs).toBeCloseTo(34, 6);
    expect(of(figures, 'shm').addedP50SpreadUs?.map(Math.round)).toEqual([32, 47]);
    expect(of(figures, 'direct').addedP50Us).toBe(0);
  });

  it('counts its p99 from the intended moment too', () => {
    const round = [turn('direct', constant(100), { lateUs: 10 }), turn('shm', constant(130), { lateUs: 40 })];
    expect(of(figuresOf([round], plan), 'shm').addedP99Us).toBeCloseTo(60, 0);
  });

  it('is not told without direct', () => {
    expect(of(figuresOf([[turn('shm', constant(130))]], plan), 'shm')).not.toHaveProperty('addedP50Us');
  });

  it('needs every path in every round', () => {
    const rounds = [[turn('direct', [1]), turn('shm', [1])], [turn('direct', [1])]];
    expect(() => figuresOf(rounds, plan)).toThrow('no turn of shm');
  });
});

describe('median and spread', () => {
  it('interpolate and do not care for order', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(spread([5, 1, 4, 2, 3])).toEqual([2, 4]);
    expect(spread([7])).toEqual([7, 7]);
    expect(median([])).toBeNaN();
  });
});
