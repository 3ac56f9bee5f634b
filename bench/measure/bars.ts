// What each scenario must show, and what makes a run worthless. Bars compare within one run wherever they can: absolute times hold on
// the machine that they were set on. A bar that cannot be judged, because a path is absent, is not met.
import type { LoadPlan } from '../load/messages.js';
import type { PathFigures } from './figures.js';
import type { ScenarioResult } from './result.js';

/** One bar, judged. */
export interface Bar {
  text: string;
  /** The figure, or null where it could not be had. */
  value: number | null;
  limit: number;
  met: boolean;
  /** A harder limit that is aimed at, and whether it is reached. */
  stretch?: number;
  stretchMet?: boolean;
}

type Unjudged = Omit<ScenarioResult, 'bars'>;
type Figure =
  | 'p50Us'
  | 'p99Us'
  | 'meanUs'
  | 'addedP50Us'
  | 'addedMeanUs'
  | 'throughputRps'
  | 'mbPerSecond'
  | 'proxyCpuUsPerRequest';
type Paths = Record<string, PathFigures>;

const leastAchieved = 0.98;
const mostDirectOverRaw = 1.6;
const soakMaxRssMb = 100;
const soakMaxGrowth = 1.05;

/** Why the figures of one variant cannot be trusted. */
export function problemsOf(paths: Paths, load: Pick<LoadPlan, 'pace'>): string[] {
  const problems: string[] = [];
  for (const [path, figures] of Object.entries(paths)) {
    if (figures.errors > 0) {
      problems.push(
        `${path}: ${figures.errors} of ${figures.requests} requests failed, the first: ${figures.firstError}`,
      );
    }
    if ('ratePerSecond' in load.pace && figures.achievedRps < leastAchieved * load.pace.ratePerSecond) {
      const share = Math.round((100 * figures.achievedRps) / load.pace.ratePerSecond);
      problems.push(`${path}: only ${share}% of the rate was achieved`);
    }
  }
  const { raw, direct } = paths;
  if (raw !== undefined && direct !== undefined && direct.p50Us > mostDirectOverRaw * raw.p50Us) {
    const ratio = (direct.p50Us / raw.p50Us).toFixed(2);
    problems.push(`direct takes ${ratio} times as long as raw (p50), more than ${mostDirectOverRaw}`);
  }
  return problems;
}

/** All bars of a scenario that the figures of this run are about. */
export function barsOf(result: Unjudged): Bar[] {
  const bars = (judges[result.scenario] ?? (() => []))(result);
  if (result.problems.length === 0) return bars;
  return bars.map((bar) => ({
    ...bar,
    met: false,
    ...(bar.stretch === undefined ? {} : { stretchMet: false }),
  }));
}

const judges: Record<string, (result: Unjudged) => Bar[]> = {
  standard: ({ paths, keepAwake }) =>
    keepAwake
      ? [below('shm adds less than 30 µs (p50), cores kept awake', valueOf(paths, 'shm', 'addedP50Us'), 30)]
      : [
          below('shm adds less than 100 µs (p50)', valueOf(paths, 'shm', 'addedP50Us'), 100),
          below('shm adds less than 100 µs (mean)', valueOf(paths, 'shm', 'addedMeanUs'), 100),
          atMost('shm adds at most 0.5 of what haproxy adds (p50)', ratio(paths, 'addedP50Us'), 0.5, 0.35),
          atMost('shm adds at most 0.5 of what haproxy adds (mean)', ratio(paths, 'addedMeanUs'), 0.5, 0.35),
        ],
  serial: ({ paths }) => [
    atMost('shm adds at most 0.6 of what haproxy adds (p50)', ratio(paths, 'addedP50Us'), 0.6),
  ],
  saturate: ({ paths }) => [
    atLeast(
      'shm takes at least 1.1 of the requests that haproxy takes',
      ratio(paths, 'throughputRps'),
      1.1,
      1.3,
    ),
    atMost("the agents' CPU per request is at most haproxy's", ratio(paths, 'proxyCpuUsPerRequest'), 1),
  ],
  large: ({ paths, variants, load }) => {
    const all: NonNullable<Unjudged['variants']> = variants ?? {
      [`${load.bodyBytes} bytes`]: { load, paths },
    };
    return Object.entries(all).flatMap(([name, { paths: own }]) => [
      atMost(`${name}: the mean over shm is at most 0.7 of that over tcp`, ratio(own, 'meanUs', 'tcp'), 0.7),
      above(`${name}: shm carries more MB/s than haproxy`, ratio(own, 'mbPerSecond'), 1),
    ]);
  },
  pressure: ({ paths }) => [below("shm's p99 is below that of tcp", ratio(paths, 'p99Us', 'tcp'), 1)],
  mainstream: ({ paths }) =>
    ['grpc-direct', 'http-direct'].map((peer) =>
      below(`the p50 of shm, through both agents, is below that of ${peer}`, ratio(paths, 'p50Us', peer), 1),
    ),
  soak: (result) => {
    const total = (result.memory ?? []).map(({ anonBytes }) => anonBytes.reduce((a, b) => a + b, 0));
    const largest = Math.max(...(result.memory ?? []).flatMap(({ anonBytes }) => anonBytes)) / 2 ** 20;
    return [
      atMost('errors', result.paths['shm']?.errors ?? null, 0),
      atMost("memory's least of the last fifth over that of the second", growth(total), soakMaxGrowth),
      below('each agent stays below 100 MB of RssAnon', finite(largest), soakMaxRssMb),
    ];
  },
  scale: ({ micro = {} }) => [
    atMost(
      'flow lookup at 100,000 flows, uniform keys, in ns',
      slowest(micro, /^flow lookup.*100,?000/),
      200,
    ),
    below('the slowest pick at 10,000 endpoints, in ns', slowest(micro, /^pick.*10,?000/), 1000),
    atMost('an idle TCP link costs the agent, in bytes', slowest(micro, /^idle TCP link/), 4096),
  ],
};

function slowest(micro: Record<string, number>, name: RegExp): number | null {
  const found = Object.entries(micro).filter(([operation]) => name.test(operation));
  return found.length === 0 ? null : Math.max(...found.map(([, ns]) => ns));
}

/** Least of the last fifth over least of the second fifth: minutes, where there are five. */
export function growth(samples: readonly number[]): number | null {
  const fifth = Math.floor(samples.length / 5);
  if (fifth === 0) return null;
  const least = (from: number): number => Math.min(...samples.slice(from, from + fifth));
  return least(samples.length - fifth) / least(fifth);
}

function valueOf(paths: Paths, path: string, figure: Figure): number | null {
  return finite(paths[path]?.[figure]);
}

/** shm's figure over that of a peer in the same run. */
function ratio(paths: Paths, figure: Figure, peer = 'haproxy'): number | null {
  const [own, other] = [valueOf(paths, 'shm', figure), valueOf(paths, peer, figure)];
  return own === null || other === null || other <= 0 ? null : own / other;
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}

type Holds = (value: number, limit: number) => boolean;

function bar(holds: Holds): (text: string, value: number | null, limit: number, stretch?: number) => Bar {
  return (text, value, limit, stretch) => ({
    text,
    value,
    limit,
    met: value !== null && holds(value, limit),
    ...(stretch === undefined ? {} : { stretch, stretchMet: value !== null && holds(value, stretch) }),
  });
}

const below = bar((value, limit) => value < limit);
const atMost = bar((value, limit) => value <= limit);
const above = bar((value, limit) => value > limit);
const atLeast = bar((value, limit) => value >= limit);
