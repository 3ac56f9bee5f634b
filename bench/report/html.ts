// Results as one page that needs nothing else: percentile curves, what each path adds, CPU per request, latency and memory over time,
// the bars, and what all of it was measured on.
import type { PathFigures } from '../measure/figures.js';
import type { ScenarioResult } from '../measure/result.js';
import { barChart, escaped, lineChart } from './svg.js';
import type { BarRow } from './svg.js';
import { barText, describe, inOrder, short } from './table.js';

/** One colour per path wherever it appears; ours warm, peers cool, the references grey. */
const colors: Record<string, string> = {
  raw: '#b5b5b5',
  direct: '#6b6b6b',
  'node-net': '#8cb4d9',
  haproxy: '#1f6fb2',
  nginx: '#2a9d8f',
  mosn: '#7b5ea7',
  tcp: '#e9b44c',
  unix: '#e07a3f',
  shm: '#c8102e',
  'grpc-direct': '#5f7f3b',
  'http-direct': '#a3c585',
};

const style = `
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #ddd; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --soft: #a0a0a0; --line: #3a3a3a; --paper: #181818; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { text-align: right; padding: .2rem .45rem; border-bottom: 1px solid var(--line); } th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; } svg .name { fill: var(--ink); font-size: 12px; }
.grid { stroke: var(--line); } .whisker { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.legend span { margin-right: 1rem; white-space: nowrap; } .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
.bad { color: #fff; background: #b00020; padding: .3rem .6rem; } .soft { color: var(--soft); } code { overflow-wrap: anywhere; }
`;

/** A whole page about one or more results. */
export function htmlReport(results: readonly ScenarioResult[]): string {
  const body = results.map(section).join('');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Ringside: measured side by side</title><style>${style}</style></head><body><h1>Ringside: measured side by side</h1>${body}</body></html>\n`;
}

function section(result: ScenarioResult): string {
  const { scenario, description, keepAwake, rounds, secondsPerTurn, absent, problems } = result;
  const variants = Object.entries(result.variants ?? { '': result }).filter(
    ([, { paths }]) => Object.keys(paths).length > 0,
  );
  return [
    `<h2>${escaped(scenario)}${keepAwake ? ', cores kept awake' : ''}</h2>`,
    `<p>${escaped(description)}.${secondsPerTurn === 0 ? '' : ` ${rounds} rounds of ${secondsPerTurn} s for each path.`}</p>`,
    ...problems.map((problem) => `<p class="bad">Not to be trusted: ${escaped(problem)}</p>`),
    ...Object.entries(absent).map(
      ([path, why]) => `<p class="soft">Absent: ${escaped(path)}: ${escaped(why)}</p>`,
    ),
    `<ul>${result.bars.map((bar) => `<li>${escaped(barText(bar))}</li>`).join('')}</ul>`,
    ...variants.map(([name, { paths }]) => (name === '' ? '' : `<h3>${escaped(name)}</h3>`) + plots(paths)),
    micro(result),
    memory(result),
    origin(result),
  ].join('');
}

function plots(paths: Record<string, PathFigures>): string {
  const names = inOrder(paths);
  const figures = (name: string): PathFigures => paths[name] as PathFigures;
  const color = (name: string): string => colors[name] ?? '#888';
  const bars = (rows: string[], row: (own: PathFigures) => Omit<BarRow, 'name' | 'color'>): BarRow[] =>
    rows.map((name) => ({ name, color: color(name), ...row(figures(name)) }));
  const lines = (points: (own: PathFigures) => [number, number][]): Parameters<typeof lineChart>[0] =>
    names.map((name) => ({
      name,
      color: color(name),
      strong: name === 'shm',
      points: points(figures(name)),
    }));
  const adding = names.filter((name) => name !== 'direct' && figures(name).addedP50Us !== undefined);
  const between = names.filter((name) => figures(name).proxyCpuUsPerRequest > 0);
  const inverse = (percentile: number): number => 1 / (1 - percentile / 100);
  return [
    table(paths),
    '<h3>Latency by percentile</h3>',
    lineChart(
      lines(({ curve }) => curve.map(([percentile, us]) => [inverse(percentile), us])),
      {
        label: 'percentile',
        log: true,
        ticks: [0, 50, 90, 99, 99.9, 99.99].map((percentile) => [inverse(percentile), String(percentile)]),
      },
      { label: 'µs', log: true },
    ),
    adding.length === 0
      ? ''
      : '<h3>What each path adds to a direct call</h3>' +
        barChart(
          bars(adding, ({ addedP50Us: value = 0, addedP50SpreadUs: spread }) => ({
            value,
            ...(spread === undefined ? {} : { spread }),
            text: `${short(value)} µs`,
          })),
          'µs, p50: median over rounds, whiskers hold the middle half of them',
        ),
    between.length === 0
      ? ''
      : '<h3>CPU per request of what stands between</h3>' +
        barChart(
          bars(between, ({ proxyCpuUsPerRequest: value }) => ({ value, text: `${short(value)} µs` })),
          'µs of CPU per request, both proxies or agents together',
        ),
    '<h3>p99 over time, last round</h3>',
    lineChart(
      lines(({ overTime }) => overTime.map(({ atSeconds, p99Us }) => [atSeconds, p99Us])),
      { label: 'seconds' },
      { label: 'µs', log: true },
    ),
  ].join('');
}

function table(paths: Record<string, PathFigures>): string {
  const head = [
    'path',
    'p50 µs',
    'mean',
    'p99',
    'p99.9',
    'adds p50',
    'adds mean',
    'requests/s',
    'CPU µs/request',
    'wake-ups/request',
    'MB',
    'errors',
  ];
  const rows = inOrder(paths).map((name) => {
    const one = paths[name] as PathFigures;
    const cells = [
      ...[one.p50Us, one.meanUs, one.p99Us, one.p999Us].map(short),
      ...[one.addedP50Us, one.addedMeanUs].map((value) =>
        name === 'direct' || value === undefined ? '' : short(value),
      ),
      String(Math.round(one.throughputRps)),
      short(one.proxyCpuUsPerRequest),
      one.wakeupsPerRequest.toFixed(2),
      short(one.proxyRssMb),
      String(one.errors),
    ];
    return `<tr><td title="${escaped(describe(name))}">${escaped(name)}</td>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  return `<div class="scroll"><table><tr>${head.map((text) => `<th>${text}</th>`).join('')}</tr>${rows.join('')}</table></div>`;
}

function micro({ micro: values }: ScenarioResult): string {
  if (values === undefined) return '';
  const rows = Object.entries(values).map(
    ([name, value]) => `<tr><td>${escaped(name)}</td><td>${short(value)}</td></tr>`,
  );
  return `<table><tr><th>operation</th><th>ns</th></tr>${rows.join('')}</table>`;
}

function memory({ memory: samples }: ScenarioResult): string {
  if (samples === undefined || samples.length === 0) return '';
  const lines = samples[0]?.anonBytes.map((_, index) => ({
    name: index === 0 ? 'agent of the client' : 'agent of the server',
    color: index === 0 ? '#c8102e' : '#1f6fb2',
    points: samples.map(
      ({ atSeconds, anonBytes }) => [atSeconds, (anonBytes[index] ?? 0) / 2 ** 20] as const,
    ),
  }));
  return `<h3>Private memory of the agents</h3>${lineChart(lines ?? [], { label: 'seconds' }, { label: 'MB' })}`;
}

function origin({ date, command, machine }: ScenarioResult): string {
  const { cpu, cores, memoryGb, kernel, virtual, loadAverage, versions } = machine;
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const where = `${cpu}, ${cores} cores, ${memoryGb} GB, Linux ${kernel}${virtual ? ', virtual machine' : ''}, load ${short(loadAverage)} at the start`;
  return `<p class="soft">${escaped(date)}. ${escaped(where)}. ${escaped(used.join(', '))}.<br><code>${escaped(command)}</code></p>`;
}
