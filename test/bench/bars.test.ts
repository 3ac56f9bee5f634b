// The bars of the scenarios: judged on the right figures, never met by a run that is not to be trusted or by a figure that is not there.
import { describe, expect, it } from 'vitest';
import { barsOf, growth, problemsOf } from '../../bench/measure/bars.js';
import type { Bar } from '../../bench/measure/bars.js';
import { figuresOf } from '../../bench/measure/figures.js';
import type { PathFigures } from '../../bench/measure/figures.js';
import type { ScenarioResult } from '../../bench/measure/result.js';
import { turn } from './turns.js';

type Latencies = Record<string, number>;

function pathsWith(latenciesUs: Latencies): Record<string, PathFigures> {
  return figuresOf(
    [
      Object.entries(latenciesUs).map(([path, us]) =>
        turn(
          path,
          Array.from({ length: 100 }, () => us),
        ),
      ),
    ],
    { bodyBytes: 1024 },
  );
}

function result(
  scenario: string,
  latenciesUs: Latencies,
  more: Partial<ScenarioResult> = {},
): Omit<ScenarioResult, 'bars'> {
  return {
    schema: 1,
    scenario,
    description: '',
    date: '',
    command: '',
    machine: { cpu: '', cores: 2, memoryGb: 1, kernel: '', virtual: false, loadAverage: 0, versions: {} },
    keepAwake: false,
    rounds: 1,
    secondsPerTurn: 1,
    load: { pace: { inFlight: 1 }, bodyBytes: 1024 },
    paths: pathsWith(latenciesUs),
    absent: {},
    problems: [],
    ...more,
  };
}

const met = (bars: readonly Bar[]): boolean[] => bars.map((bar) => bar.met);

describe('bars', () => {
  it('hold shm against haproxy in standard, with an aim beyond the limit', () => {
    const bars = barsOf(result('standard', { direct: 100, haproxy: 200, shm: 140 }));
    expect(met(bars)).toEqual([true, true, true, true]);
    expect(bars[2]?.value).toBeCloseTo(0.4, 2);
    expect(bars[2]).toMatchObject({ limit: 0.5, stretch: 0.35, stretchMet: false });
    expect(met(barsOf(result('standard', { direct: 100, haproxy: 200, shm: 151 })))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(met(barsOf(result('standard', { direct: 100, haproxy: 500, shm: 201 })))).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });

  it('ask for less than 30 µs where the cores are kept awake', () => {
    const awake = (shm: number): Bar[] =>
      barsOf(result('standard', { direct: 100, shm }, { keepAwake: true }));
    expect(met(awake(129))).toEqual([true]);
    expect(met(awake(131))).toEqual([false]);
  });

  it('are not met where a path is absent', () => {
    const bars = barsOf(result('serial', { direct: 100, shm: 101 }));
    expect(bars).toMatchObject([{ value: null, met: false }]);
    expect(met(barsOf(result('standard', { shm: 1, haproxy: 2 })))).toEqual([false, false, false, false]);
  });

  it('are not met where the peer adds nothing that a ratio could be taken of', () => {
    expect(met(barsOf(result('serial', { direct: 100, haproxy: 90, shm: 80 })))).toEqual([false]);
  });

  it('fail together when the run is not to be trusted', () => {
    const bars = barsOf(
      result('standard', { direct: 100, haproxy: 200, shm: 110 }, { problems: ['errors'] }),
    );
    expect(bars.map(({ met: one, stretchMet }) => [one, stretchMet])).toEqual([
      [false, undefined],
      [false, undefined],
      [false, false],
      [false, false],
    ]);
  });

  it('look at every size of large', () => {
    const variant = (latencies: Latencies) => ({
      load: { pace: { inFlight: 1 }, bodyBytes: 1024 },
      paths: pathsWith(latencies),
    });
    const good = { haproxy: 300, tcp: 200, shm: 120 };
    const slow = { haproxy: 300, tcp: 200, shm: 150 };
    const bars = barsOf(result('large', good, { variants: { small: variant(good), big: variant(slow) } }));
    expect(met(bars)).toEqual([true, false, false, false]);
  });

  it('compare the p50 of mainstream with both peers', () => {
    expect(met(barsOf(result('mainstream', { shm: 100, 'grpc-direct': 300, 'http-direct': 90 })))).toEqual([
      true,
      false,
    ]);
  });

  it('watch memory over the fifths of a soak', () => {
    const memory = (mb: readonly number[]) =>
      mb.map((one, atSeconds) => ({ path: 'shm', atSeconds, anonBytes: [one * 2 ** 20, 2 ** 20] }));
    expect(met(barsOf(result('soak', { shm: 100 }, { memory: memory([10, 50, 60, 70, 51]) })))).toEqual([
      true,
      true,
      true,
    ]);
    expect(met(barsOf(result('soak', { shm: 100 }, { memory: memory([10, 50, 60, 70, 120]) })))).toEqual([
      true,
      false,
      false,
    ]);
    expect(met(barsOf(result('soak', { shm: 100 })))).toEqual([true, false, false]);
  });

  it('find the operations of scale by name, the slowest of several', () => {
    const micro = {
      'flow lookup, 100,000 flows, uniform keys': 150,
      'pick p2c, 10,000 endpoints': 20,
      'pick other, 10000 endpoints': 1100,
    };
    expect(barsOf(result('scale', {}, { micro }))).toMatchObject([
      { value: 150, met: true },
      { value: 1100, met: false },
      { value: null, met: false },
    ]);
  });

  it('have none for what has no bars', () => {
    expect(barsOf(result('something', { shm: 1 }))).toEqual([]);
  });
});

describe('growth', () => {
  it('compares the least of the last fifth with that of the second', () => {
    expect(growth([1, 1, 20, 10, 30, 30, 40, 40, 12, 15])).toBe(1.2);
    expect(growth([1, 2, 3, 4])).toBeNull();
  });
});

describe('problems', () => {
  const open = { pace: { ratePerSecond: 1000 } };

  it('are errors, with the first one', () => {
    const paths = figuresOf([[turn('shm', [1, 2], { errors: 2, seconds: 0.002 })]], { bodyBytes: 1 });
    expect(problemsOf(paths, open)).toEqual(['shm: 2 of 4 requests failed, the first: no way']);
  });

  it('are a rate that was not achieved, in an open loop', () => {
    const paths = figuresOf(
      [
        [
          turn(
            'shm',
            Array.from({ length: 970 }, () => 10),
          ),
        ],
      ],
      { bodyBytes: 1 },
    );
    expect(problemsOf(paths, open)).toEqual(['shm: only 97% of the rate was achieved']);
    expect(problemsOf(paths, { pace: { inFlight: 1 } })).toEqual([]);
  });

  it('are a direct path that is much slower than raw', () => {
    const closed = { pace: { inFlight: 1 } };
    expect(problemsOf(pathsWith({ raw: 100, direct: 170 }), closed)).toHaveLength(1);
    expect(problemsOf(pathsWith({ raw: 100, direct: 150 }), closed)).toEqual([]);
  });
});
