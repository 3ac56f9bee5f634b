// The schema of a result file, which `--json` writes, bench/results keeps and the reports read. A change of meaning raises `schema`.
import type { LoadPlan } from '../load/messages.js';
import type { Bar } from './bars.js';
import type { PathFigures } from './figures.js';
import type { MachineFacts } from './machine.js';

export const resultSchema = 1;

/** See the file's head. Numbers in it are rounded to three decimals. */
export interface ScenarioResult {
  schema: typeof resultSchema;
  scenario: string;
  description: string;
  /** ISO 8601, when the run began. */
  date: string;
  /** What repeats the run. */
  command: string;
  machine: MachineFacts;
  /** Whether idle-class loops kept the cores from halting. */
  keepAwake: boolean;
  rounds: number;
  secondsPerTurn: number;
  load: Omit<LoadPlan, 'seconds'>;
  /** Figures by path. Of several variants the first stands for the scenario. */
  paths: Record<string, PathFigures>;
  /** Where a scenario has several: their load and figures by name, the first included. */
  variants?: Record<string, { load: Omit<LoadPlan, 'seconds'>; paths: Record<string, PathFigures> }>;
  /** Paths that could not be measured here, with the reason. */
  absent: Record<string, string>;
  /** Memory of each process between the applications over time, where the scenario watches it. */
  memory?: { path: string; atSeconds: number; anonBytes: number[] }[];
  /** Costs of single operations, where the scenario measures them, in nanoseconds or the unit in the name. */
  micro?: Record<string, number>;
  /** Why the figures cannot be trusted; empty for a good run. Any of them fails all bars. */
  problems: string[];
  bars: Bar[];
}

/** A copy with every number rounded to three decimals. */
export function rounded<T>(value: T): T {
  return JSON.parse(
    JSON.stringify(value, (_, one: unknown) =>
      typeof one === 'number' && !Number.isInteger(one) ? Math.round(one * 1000) / 1000 : one,
    ),
  ) as T;
}
