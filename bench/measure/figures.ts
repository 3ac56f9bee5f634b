// From the turns of a scenario to its figures. What a path adds is the median over rounds of the difference to `direct` in the same
// round, because a shared machine's speed changes from one round to the next; how far the rounds lie apart is told as well.
import { quantile } from '../../dist/cli/demo/summarize.js';
import type { LoadPlan, LoadResult, TimeSlice } from '../load/messages.js';
import { Histogram } from './histogram.js';

/** What one path did in one round. */
export interface TurnData {
  path: string;
  load: LoadResult;
  between: { cpuUs: number; wakeups: number };
  applications: { cpuUs: number; wakeups: number };
  memory: { anonBytes: number; shmemBytes: number };
}

/** Middle half of the rounds: a quarter of them lies below, a quarter above. */
export type Spread = [low: number, high: number];

/** One round of one path; times in microseconds. */
export interface RoundFigures {
  throughputRps: number;
  p50Us: number;
  meanUs: number;
  p99Us: number;
}

/**
 * Figures of one path over all rounds. Times in microseconds: p50, p90 and mean from when a request was sent, p99 and
 * p999 from when it should have been sent. What is per request is so per answered request, and "proxy" means everything between
 * the two applications: proxies or agents, both together.
 */
export interface PathFigures {
  requests: number;
  errors: number;
  firstError?: string;
  /** Answers per second; in an open loop to be compared with the rate that was asked for. */
  achievedRps: number;
  /** The same as the median over rounds, which in a closed loop is what the path can take. */
  throughputRps: number;
  throughputSpreadRps: Spread;
  /** Bodies of requests and replies. */
  mbPerSecond: number;
  p50Us: number;
  p90Us: number;
  p99Us: number;
  p999Us: number;
  maxUs: number;
  meanUs: number;
  /** More than `direct` takes, median over rounds; absent without `direct`. */
  addedP50Us?: number;
  addedMeanUs?: number;
  addedP99Us?: number;
  addedP50SpreadUs?: Spread;
  addedMeanSpreadUs?: Spread;
  addedP99SpreadUs?: Spread;
  proxyCpuUsPerRequest: number;
  /** RssAnon in megabytes of 2^20 bytes, at most over the rounds. */
  proxyRssMb: number;
  /** RssShmem: rings that are mapped. */
  proxyRssShmemMb: number;
  /** Voluntary context switches of the proxies. */
  wakeupsPerRequest: number;
  /** Of client and server together. */
  appCpuUsPerRequest: number;
  appWakeupsPerRequest: number;
  syscallsPerRequest?: number;
  /** How much later than intended requests were sent; absent in a closed loop. */
  latenessP50Us?: number;
  latenessP99Us?: number;
  latenessMaxUs?: number;
  rounds: RoundFigures[];
  /** Latency from the intended moment: [percentile, microseconds]. */
  curve: [percentile: number, us: number][];
  /** Of the last round. */
  overTime: TimeSlice[];
}

const curvePercentiles = [0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99];
const bytesPerMb = 2 ** 20;

/** Figures by path, in the order of the first round. @param rounds the turns of each round, one per path */
export function figuresOf(
  rounds: readonly (readonly TurnData[])[],
  plan: Pick<LoadPlan, 'bodyBytes'>,
): Record<string, PathFigures> {
  const names = [...new Set(rounds[0]?.map(({ path }) => path) ?? [])];
  return Object.fromEntries(
    names.map((path) => {
      const own = rounds.map((round) => turnOf(round, path));
      return [path, { ...ownFigures(own, plan), ...added(rounds, path) }];
    }),
  );
}

function ownFigures(turns: readonly TurnData[], { bodyBytes }: Pick<LoadPlan, 'bodyBytes'>): PathFigures {
  const loads = turns.map(({ load }) => load);
  const sent = Histogram.merge(loads.map(({ fromSend }) => fromSend));
  const intended = Histogram.merge(loads.map(intendedOf));
  const late = loads.flatMap(({ lateness }) => lateness ?? []);
  const lateness = late.length > 0 ? Histogram.merge(late) : undefined;
  const answered = Math.max(1, sent.count);
  const perRequest = (of: (turn: TurnData) => number): number => sum(turns.map(of)) / answered;
  const throughputs = loads.map(throughputOf);
  const throughputRps = median(throughputs);
  const firstError = loads.find((load) => load.firstError !== undefined)?.firstError;
  return {
    requests: sum(loads.map(({ requests }) => requests)),
    errors: sum(loads.map(({ errors }) => errors)),
    ...(firstError === undefined ? {} : { firstError }),
    achievedRps: sent.count / sum(loads.map(({ elapsedSeconds }) => elapsedSeconds)),
    throughputRps,
    throughputSpreadRps: spread(throughputs),
    mbPerSecond: (throughputRps * 2 * bodyBytes) / bytesPerMb,
    p50Us: sent.quantileUs(0.5),
    p90Us: sent.quantileUs(0.9),
    p99Us: intended.quantileUs(0.99),
    p999Us: intended.quantileUs(0.999),
    maxUs: intended.maxUs,
    meanUs: sent.meanUs,
    proxyCpuUsPerRequest: perRequest(({ between }) => between.cpuUs),
    proxyRssMb: Math.max(...turns.map(({ memory }) => memory.anonBytes)) / bytesPerMb,
    proxyRssShmemMb: Math.max(...turns.map(({ memory }) => memory.shmemBytes)) / bytesPerMb,
    wakeupsPerRequest: perRequest(({ between }) => between.wakeups),
    appCpuUsPerRequest: perRequest(({ applications }) => applications.cpuUs),
    appWakeupsPerRequest: perRequest(({ applications }) => applications.wakeups),
    ...(lateness === undefined
      ? {}
      : {
          latenessP50Us: lateness.quantileUs(0.5),
          latenessP99Us: lateness.quantileUs(0.99),
          latenessMaxUs: lateness.maxUs,
        }),
    rounds: turns.map(roundFigures),
    // A percentile that not even one request lies above is the maximum under another name.
    curve: curvePercentiles
      .filter((percentile) => (1 - percentile / 100) * intended.count >= 1)
      .map((percentile) => [percentile, intended.quantileUs(percentile / 100)]),
    overTime: loads.at(-1)?.overTime ?? [],
  };
}

function roundFigures({ load }: TurnData): RoundFigures {
  const sent = Histogram.merge([load.fromSend]);
  return {
    throughputRps: throughputOf(load),
    p50Us: sent.quantileUs(0.5),
    meanUs: sent.meanUs,
    p99Us: Histogram.merge([intendedOf(load)]).quantileUs(0.99),
  };
}

function added(rounds: readonly (readonly TurnData[])[], path: string): Partial<PathFigures> {
  if (!rounds.every((round) => round.some((turn) => turn.path === 'direct'))) return {};
  const differences = (figure: keyof RoundFigures): number[] =>
    rounds.map(
      (round) => roundFigures(turnOf(round, path))[figure] - roundFigures(turnOf(round, 'direct'))[figure],
    );
  const [p50, mean, p99] = [differences('p50Us'), differences('meanUs'), differences('p99Us')];
  return {
    addedP50Us: median(p50),
    addedMeanUs: median(mean),
    addedP99Us: median(p99),
    addedP50SpreadUs: spread(p50),
    addedMeanSpreadUs: spread(mean),
    addedP99SpreadUs: spread(p99),
  };
}

function intendedOf(load: LoadResult): LoadResult['fromSend'] {
  return load.fromIntended ?? load.fromSend;
}

function throughputOf({ fromSend, elapsedSeconds }: LoadResult): number {
  return elapsedSeconds > 0 ? fromSend.count / elapsedSeconds : 0;
}

function turnOf(round: readonly TurnData[], path: string): TurnData {
  const turn = round.find((candidate) => candidate.path === path);
  if (turn === undefined) throw new Error(`a round has no turn of ${path}`);
  return turn;
}

/** NaN of none. */
export function median(values: readonly number[]): number {
  return quantile([...values].sort(byValue), 0.5);
}

/** See {@link Spread}. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort(byValue);
  return [quantile(sorted, 0.25), quantile(sorted, 0.75)];
}

function byValue(a: number, b: number): number {
  return a - b;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
