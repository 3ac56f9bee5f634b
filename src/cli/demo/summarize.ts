// From the samples of all rounds to the figures of the demo's table. What the agents add is the median over rounds of the difference to
// `direct` in the same round, because a shared machine's speed changes from one round to the next.
import { demoPaths } from './messages.js';
import type { DemoPath, RoundResult } from './messages.js';

/** Figures of one path; times in microseconds. p50, p90 and mean from the actual send, p99 from the intended one. */
export interface PathSummary {
  requests: number;
  errors: number;
  achievedRps: number;
  meanUs: number;
  p50Us: number;
  p90Us: number;
  p99Us: number;
  /** Median over rounds of what this path takes more than `direct`; 0 for `direct` itself. */
  addedP50Us: number;
  addedMeanUs: number;
}

/** @param rounds the results of each round, one per path */
export function summarize(rounds: readonly (readonly RoundResult[])[]): Record<DemoPath, PathSummary> {
  const summaries = {} as Record<DemoPath, PathSummary>;
  for (const path of demoPaths) {
    const own = rounds.map((round) => resultOf(round, path));
    const samples = own.flatMap((result) => result.fromSendUs).sort(byValue);
    const intended = own.flatMap((result) => result.fromIntendedUs).sort(byValue);
    summaries[path] = {
      requests: sum(own.map((result) => result.requests)),
      errors: sum(own.map((result) => result.errors)),
      achievedRps: round1(sum(own.map((result) => result.achievedRps)) / own.length),
      meanUs: round1(mean(samples)),
      p50Us: round1(quantile(samples, 0.5)),
      p90Us: round1(quantile(samples, 0.9)),
      p99Us: round1(quantile(intended, 0.99)),
      addedP50Us: round1(medianDifference(rounds, path, (us) => quantile([...us].sort(byValue), 0.5))),
      addedMeanUs: round1(medianDifference(rounds, path, mean)),
    };
  }
  return summaries;
}

function medianDifference(
  rounds: readonly (readonly RoundResult[])[],
  path: DemoPath,
  figure: (samplesUs: readonly number[]) => number,
): number {
  const differences = rounds.map(
    (round) => figure(resultOf(round, path).fromSendUs) - figure(resultOf(round, 'direct').fromSendUs),
  );
  return quantile(differences.sort(byValue), 0.5);
}

function resultOf(round: readonly RoundResult[], path: DemoPath): RoundResult {
  const result = round.find((candidate) => candidate.path === path);
  if (result === undefined) throw new Error(`a round has no result for ${path}`);
  return result;
}

/** Of sorted values, interpolated; NaN of none. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function byValue(a: number, b: number): number {
  return a - b;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
