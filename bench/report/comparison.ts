// The comparison in README.md: made from the results in bench/results, put between two markers, never typed.
import type { PathFigures } from '../measure/figures.js';
import type { ScenarioResult } from '../measure/result.js';
import { describe, inOrder, short } from './table.js';

export const beginMarker = '<!-- bench:begin -->';
export const endMarker = '<!-- bench:end -->';

/** Results by what they are called in bench/results, without `.json`. `standard` must be there. */
export type Results = Partial<Record<string, ScenarioResult>>;

/** The results that the comparison is made of. */
const used = ['standard', 'standard-keep-awake', 'serial', 'saturate'];

/** The text with the comparison between its markers. Throws if a marker is missing or there are several. */
export function withComparison(text: string, results: Results): string {
  const [before, rest, ...more] = text.split(beginMarker);
  const [, after, ...evenMore] = (rest ?? '').split(endMarker);
  if (after === undefined || more.length + evenMore.length > 0) {
    throw new Error(`there must be one line ${beginMarker} and one line ${endMarker} after it`);
  }
  return `${before}${beginMarker}\n${comparison(results)}\n${endMarker}${after}`;
}

/** Tables in Markdown and what they were measured on. */
export function comparison(results: Results): string {
  const { standard } = results;
  if (standard === undefined) throw new Error('the comparison needs bench/results/standard.json');
  const files = used.flatMap((name): [string, ScenarioResult][] => {
    const result = results[name];
    return result === undefined ? [] : [[name, result]];
  });
  const untrusted = files.filter(([, { problems }]) => problems.length > 0);
  if (untrusted.length > 0) {
    const [[name, { problems }]] = untrusted as [[string, ScenarioResult]];
    throw new Error(`bench/results/${name}.json is not to be trusted: ${problems[0]}`);
  }
  return [mainTable(standard, results), '', ...notes(standard, files)].join('\n');
}

type Column = [head: string, cell: (path: string) => string];

function mainTable(standard: ScenarioResult, results: Results): string {
  const adds = (result: ScenarioResult) => (path: string) => {
    const value = path === 'direct' ? undefined : result.paths[path]?.addedP50Us;
    return value === undefined ? '' : `${short(value)} µs`;
  };
  const own = (figure: (figures: PathFigures) => string) => (path: string) =>
    figure(standard.paths[path] as PathFigures);
  const columns: Column[] = [
    ['path', (path) => `\`${path}\`: ${describe(path)}`],
    ['p50', own(({ p50Us }) => `${short(p50Us)} µs`)],
    ['p99', own(({ p99Us }) => `${short(p99Us)} µs`)],
    ['adds', adds(standard)],
  ];
  const awake = results['standard-keep-awake'];
  if (awake !== undefined) columns.push(['adds, cores awake', adds(awake)]);
  const { serial, saturate } = results;
  if (serial !== undefined) columns.push(['adds, back to back', adds(serial)]);
  columns.push(['CPU per request', own(({ proxyCpuUsPerRequest: us }) => (us > 0 ? `${short(us)} µs` : ''))]);
  if (saturate !== undefined) {
    columns.push([
      'most requests/s',
      (path) => {
        const rps = saturate.paths[path]?.throughputRps;
        return rps === undefined ? '' : Math.round(rps).toLocaleString('en');
      },
    ]);
  }
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    row(columns.map(([head]) => head)),
    row(columns.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...inOrder(standard.paths).map((path) => row(columns.map(([, cell]) => cell(path)))),
  ].join('\n');
}

function notes(standard: ScenarioResult, files: readonly [string, ScenarioResult][]): string[] {
  const { machine, absent, description } = standard;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const commands = files.map(
    ([name, result]) => `- \`${name}\` (${result.date.slice(0, 10)}): \`${result.command}\``,
  );
  return [
    `${description[0]?.toUpperCase()}${description.slice(1)}. "Adds": how much longer a call takes than \`direct\` (p50, median over rounds of the`,
    'difference in the same round); "CPU per request": of both proxies or agents together. p50 counts from the actual send, p99 from the',
    'moment at which the request was due.',
    ...Object.entries(absent).map(([path, reason]) => `\`${path}\` is absent: ${reason}.`),
    '',
    `Measured on ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, Linux ${machine.kernel}${machine.virtual ? ' (virtual machine)' : ''}; ${versions.join(', ')}:`,
    '',
    ...commands,
  ];
}
