// `npm run bench`: runs scenarios, shows their tables, and leaves results and reports where it is told to. Exit code: 0 when it
// measured, whatever the figures (with --strict 1 if a bar is not met); 1 when it could not, and with --quick also when
// requests failed or shared memory was slower than HAProxy.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { barsOf, problemsOf } from './measure/bars.js';
import { figuresOf } from './measure/figures.js';
import { machineFacts } from './measure/machine.js';
import type { MachineFacts } from './measure/machine.js';
import { resultSchema, rounded } from './measure/result.js';
import type { ScenarioResult } from './measure/result.js';
import { pathNames } from './paths/paths.js';
import type { PathName } from './paths/paths.js';
import { htmlReport } from './report/html.js';
import { resultText } from './report/table.js';
import { runMicro } from './micro/run-micro.js';
import { runScenario } from './run/run-scenario.js';
import type { ScenarioRun } from './run/run-scenario.js';
import { scenarios } from './run/scenarios.js';
import type { Scenario } from './run/scenarios.js';

interface Options {
  scenario: string[];
  paths?: PathName[];
  rounds?: number;
  seconds?: number;
  json?: string;
  html?: string;
  keepAwake?: boolean;
  syscalls?: boolean;
  quick?: boolean;
  strict?: boolean;
}

const microScenario = 'scale';
const quickPaths: PathName[] = ['raw', 'direct', 'haproxy', 'tcp', 'shm'];
const quickRounds = 3;
const quickSeconds = 2.5;

const program = new Command('bench')
  .description('Calls through two agents beside the same calls through peers, in turns, on this machine.')
  .option(
    '--scenario <names>',
    `one or more of ${[...scenarios.map(({ name }) => name), microScenario].join(', ')}`,
    list,
    ['standard'],
  )
  .option('--paths <names>', `of ${pathNames.join(', ')}`, pathList)
  .option('--rounds <n>', 'how often each path has its turn', positive)
  .option('--seconds <n>', 'length of a turn', positive)
  .option('--json <file>', 'write the result')
  .option('--html <file>', 'write a report with plots')
  .option('--keep-awake', 'run an idle-class loop on every core, so that no core halts')
  .option('--syscalls', 'count system calls with perf, in one more turn of each path')
  .option('--quick', 'standard and serial on a few paths in under three minutes, for CI')
  .option('--strict', 'exit with 1 if a bar is not met')
  .parse();

const options = program.opts<Options>();
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

try {
  const results: ScenarioResult[] = [];
  for (const name of options.quick ? ['standard', 'serial'] : options.scenario) {
    const result = name === microScenario ? await measureMicro() : await measure(chosen(name));
    results.push(result);
    process.stdout.write(`\n${resultText(result)}`);
  }
  if (options.json !== undefined) {
    writeFile(options.json, `${JSON.stringify(results.length === 1 ? results[0] : { results }, null, 1)}\n`);
  }
  if (options.html !== undefined) writeFile(options.html, htmlReport(results));
  process.exitCode = verdict(results);
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
}

/** A scenario as the options want it. */
function chosen(name: string): Scenario {
  const found = scenarios.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no scenario ${name}`);
  const paths = options.paths ?? (options.quick ? quickPaths : found.paths);
  return {
    ...found,
    // What a path adds is told against `direct`; a scenario that has no need of that does not name it.
    paths: found.paths.includes('direct') && !paths.includes('direct') ? ['direct', ...paths] : paths,
    rounds: options.rounds ?? (options.quick ? quickRounds : found.rounds),
    seconds: options.seconds ?? (options.quick ? quickSeconds : found.seconds),
  };
}

async function measureMicro(): Promise<ScenarioResult> {
  const unjudged: Omit<ScenarioResult, 'bars'> = {
    schema: resultSchema,
    scenario: microScenario,
    description: 'single operations at the size of a large installation',
    date: new Date().toISOString(),
    command: `npm run bench -- --scenario ${microScenario}`,
    machine: machineFacts(),
    keepAwake: false,
    rounds: 1,
    secondsPerTurn: 0,
    load: { pace: { inFlight: 0 }, bodyBytes: 0 },
    paths: {},
    absent: {},
    micro: await runMicro((text) => progress(`${microScenario}: ${text}`)),
    problems: [],
  };
  clearProgress();
  return rounded({ ...unjudged, bars: barsOf(unjudged) });
}

async function measure(scenario: Scenario): Promise<ScenarioResult> {
  const date = new Date().toISOString();
  const machine = machineFacts();
  const run = await runScenario(scenario, {
    keepAwake: options.keepAwake ?? false,
    syscalls: options.syscalls ?? false,
    interrupted: interrupted.signal,
    say: (text) => progress(`${scenario.name}: ${text}`),
  });
  clearProgress();
  return resultOf(scenario, run, date, machine);
}

function resultOf(scenario: Scenario, run: ScenarioRun, date: string, machine: MachineFacts): ScenarioResult {
  const variants = run.variants.map(({ variant, rounds }) => {
    const { name, pace, bodyBytes } = variant;
    return { name, load: { pace, bodyBytes }, paths: figuresOf(rounds, { bodyBytes }) };
  });
  const [first] = variants as [(typeof variants)[number]];
  for (const [path, calls] of Object.entries(run.syscalls ?? {})) {
    const figures = first.paths[path];
    if (figures !== undefined) figures.syscallsPerRequest = calls;
  }
  const unjudged: Omit<ScenarioResult, 'bars'> = {
    schema: resultSchema,
    scenario: scenario.name,
    description: scenario.description,
    date,
    command: command(scenario),
    machine,
    keepAwake: options.keepAwake ?? false,
    rounds: scenario.rounds,
    secondsPerTurn: scenario.seconds,
    load: first.load,
    paths: first.paths,
    ...(variants.length === 1
      ? {}
      : { variants: Object.fromEntries(variants.map(({ name, load, paths }) => [name, { load, paths }])) }),
    absent: run.absent,
    ...(run.memory === undefined ? {} : { memory: run.memory }),
    problems: variants.flatMap(({ name, paths, load }) =>
      problemsOf(paths, load).map((problem) => (variants.length === 1 ? problem : `${name}: ${problem}`)),
    ),
  };
  return rounded({ ...unjudged, bars: barsOf(unjudged) });
}

function command({ name, paths, rounds, seconds }: Scenario): string {
  const keep = options.keepAwake ? ' --keep-awake' : '';
  return `npm run bench -- --scenario ${name} --paths ${paths.join(',')} --rounds ${rounds} --seconds ${seconds}${keep}`;
}

function verdict(results: readonly ScenarioResult[]): number {
  if (options.strict && results.some(({ bars }) => bars.some(({ met }) => !met))) return 1;
  if (!options.quick) return 0;
  let code = 0;
  for (const { scenario, paths } of results) {
    const failed = Object.entries(paths).filter(([, { errors }]) => errors > 0);
    const [shm, haproxy] = [paths['shm']?.addedP50Us, paths['haproxy']?.addedP50Us];
    if (failed.length > 0 || shm === undefined || haproxy === undefined || shm > haproxy) {
      process.stdout.write(
        `${scenario}: FAILED: requests failed, or shm is missing or adds more than haproxy\n`,
      );
      code = 1;
    }
  }
  return code;
}

function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

function writeFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function list(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

function pathList(text: string): PathName[] {
  const names = list(text);
  const unknown = names.filter((name) => !(pathNames as readonly string[]).includes(name));
  if (unknown.length > 0) throw new InvalidArgumentError(`There is no path ${unknown.join(', ')}.`);
  return names as PathName[];
}

function positive(text: string): number {
  const number = Number(text);
  if (!(number > 0 && Number.isFinite(number)))
    throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}
