// A result as a person at the terminal reads it.
import Table from 'cli-table3';
import { pathDescriptions, pathNames } from '../paths/paths.js';
import type { PathFigures, Spread } from '../measure/figures.js';
import type { ScenarioResult } from '../measure/result.js';

/** Tables of all variants, what went wrong, and the bars. */
export function resultText(result: ScenarioResult): string {
  const { scenario, description, keepAwake, rounds, secondsPerTurn, micro } = result;
  const length = secondsPerTurn === 0 ? '' : `; ${rounds} rounds of ${secondsPerTurn} s`;
  const parts = [`${scenario}: ${description}${keepAwake ? ', cores kept awake' : ''}${length}`];
  if (micro !== undefined) parts.push(microTable(micro));
  const variants = Object.entries(result.variants ?? { '': result });
  for (const [name, { load, paths }] of variants) {
    if (Object.keys(paths).length === 0) continue;
    if (variants.length > 1) parts.push(name);
    if (scenario === 'pressure' && 'ratePerSecond' in load.pace) {
      parts.push(`${load.pace.ratePerSecond} requests per second`);
    }
    parts.push(pathTable(paths));
  }
  for (const [path, reason] of Object.entries(result.absent)) parts.push(`absent: ${path}: ${reason}`);
  parts.push(...result.problems.map((problem) => `!!! NOT TO BE TRUSTED: ${problem}`));
  parts.push(...result.bars.map(barText));
  return `${parts.join('\n')}\n`;
}

export function barText({
  text,
  value,
  limit,
  met,
  stretch,
  stretchMet,
}: ScenarioResult['bars'][number]): string {
  const figure = value === null ? 'no figure' : value < 10 ? value.toFixed(2) : short(value);
  const aim = stretch === undefined ? '' : `, aim ${stretch} ${stretchMet ? 'reached' : 'not reached'}`;
  return `${met ? 'met    ' : 'NOT MET'}  ${text}: ${figure} (limit ${limit}${aim})`;
}

/** The names of a result's paths in the order in which they are always shown. */
export function inOrder(paths: Record<string, unknown>): string[] {
  return [
    ...pathNames.filter((name) => name in paths),
    ...Object.keys(paths).filter((name) => !isPath(name)),
  ];
}

export function describe(path: string): string {
  return isPath(path) ? pathDescriptions[path] : path;
}

function isPath(name: string): name is keyof typeof pathDescriptions {
  return Object.hasOwn(pathDescriptions, name);
}

function pathTable(paths: Record<string, PathFigures>): string {
  const columns: [head: string, cell: (figures: PathFigures, path: string) => string][] = [
    ['path', (_, path) => path],
    ['p50 µs', ({ p50Us }) => short(p50Us)],
    ['mean', ({ meanUs }) => short(meanUs)],
    ['p99', ({ p99Us }) => short(p99Us)],
    ['p99.9', ({ p999Us }) => short(p999Us)],
    ['adds p50', (one, path) => addedText(path, one.addedP50Us, one.addedP50SpreadUs)],
    ['adds mean', (one, path) => addedText(path, one.addedMeanUs, one.addedMeanSpreadUs)],
    ['req/s', ({ throughputRps }) => String(Math.round(throughputRps))],
    ['MB/s', ({ mbPerSecond }) => short(mbPerSecond)],
    ['CPU µs/req', ({ proxyCpuUsPerRequest }) => short(proxyCpuUsPerRequest)],
    ['wakes/req', ({ wakeupsPerRequest }) => wakeupsPerRequest.toFixed(2)],
    ['apps CPU', ({ appCpuUsPerRequest }) => short(appCpuUsPerRequest)],
    ['MB', ({ proxyRssMb }) => short(proxyRssMb)],
    ['late p99', ({ latenessP99Us }) => (latenessP99Us === undefined ? '' : short(latenessP99Us))],
    ['errors', ({ errors }) => String(errors)],
  ];
  if (Object.values(paths).some(({ syscallsPerRequest }) => syscallsPerRequest !== undefined)) {
    columns.push(['syscalls/req', ({ syscallsPerRequest: n }) => (n === undefined ? '' : n.toFixed(1))]);
  }
  const table = plainTable(columns.map(([head]) => head));
  for (const path of inOrder(paths)) {
    table.push(columns.map(([, cell]) => cell(paths[path] as PathFigures, path)));
  }
  return table.toString();
}

function microTable(micro: Record<string, number>): string {
  const table = plainTable(['operation', 'ns']);
  for (const [name, value] of Object.entries(micro)) table.push([name, short(value)]);
  return table.toString();
}

function plainTable(head: string[]): Table.Table {
  return new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 1 },
  });
}

function addedText(path: string, value: number | undefined, spread: Spread | undefined): string {
  if (path === 'direct' || value === undefined || spread === undefined) return '';
  return `${short(value)} (${short(spread[0])} to ${short(spread[1])})`;
}

/** Three digits that mean something. */
export function short(value: number): string {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : value.toFixed(1);
}
