// `ringside rollout`: brings many ops agents to a version in waves, with a table of how far each is, and a file from which it can go on.
// Exit codes: 0 all have it, 1 too many failed or it was stopped, 2 the request cannot be.
import { errorText } from '../base/errors.js';
import { shownText } from '../base/shown.js';
import { ConfigError } from '../config/config-error.js';
import type { Progress } from '../ops/api.js';
import { waveEnds } from '../policy/waves.js';
import { RolloutState } from '../rollout/rollout-state.js';
import type { Plan, TargetState } from '../rollout/rollout-state.js';
import { Rollout } from '../rollout/rollout.js';
import type { RolloutOutcome } from '../rollout/rollout.js';
import { loadTargets } from '../rollout/targets.js';
import type { Target } from '../rollout/targets.js';
import { ExitError } from './exit-error.js';
import { clear, print, printJson, redraw, tell } from './output.js';
import { describe, upgradeOf } from './run-upgrade.js';
import { tableOf } from './table.js';

export interface RolloutCommandOptions {
  targets: string;
  to?: string;
  source?: string;
  sha256?: string;
  signature?: string;
  batch: string;
  maxFailures: number;
  rollbackOnFailure?: boolean;
  parallel: number;
  state?: string;
  resume?: string;
  json?: boolean;
}

const drawEveryMs = 200;
const rowsShown = 40;

export async function runRollout(options: RolloutCommandOptions): Promise<void> {
  const targets = readTargets(options.targets);
  const state = stateOf(options);
  try {
    waveEnds(state.plan.batch, targets.length);
  } catch (error) {
    throw new ExitError(`--batch: ${errorText(error)}`, 2);
  }
  const stopped = new AbortController();
  const view = options.json
    ? new JsonView()
    : process.stdout.isTTY
      ? new TableView(targets, state)
      : new LineView();
  const stop = (): void => {
    if (stopped.signal.aborted) process.exit(1);
    stopped.abort();
    tell('stopping: targets under way are waited for; once more to leave at once');
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  const rollout = new Rollout(targets, state, {
    ...{ parallel: options.parallel, signal: stopped.signal },
    onChange: (target, now, progress) => view.change(target, now, progress),
    onWave: (wave, waves, upTo) =>
      view.wave(`wave ${wave} of ${waves}: up to ${upTo} of ${targets.length} targets`),
  });
  const outcome = await rollout.run();
  process.off('SIGINT', stop).off('SIGTERM', stop);
  view.end();
  if (options.json) printJson({ outcome, ...counts(targets, state) });
  else print(`${table(targets, state, new Map())}\n${conclusion(outcome, rollout.failures, state)}`);
  if (outcome !== 'done') throw new ExitError('', 1);
}

function readTargets(file: string): Target[] {
  try {
    return loadTargets(file);
  } catch (error) {
    throw error instanceof ConfigError ? new ExitError(error.message, 2) : error;
  }
}

function stateOf(options: RolloutCommandOptions): RolloutState {
  const { to, source, sha256, signature, batch, maxFailures, resume } = options;
  if (resume !== undefined) {
    try {
      return RolloutState.resume(resume);
    } catch (error) {
      throw new ExitError(errorText(error), 2);
    }
  }
  if (to === undefined || source === undefined || sha256 === undefined)
    throw new ExitError('--to, --source and --sha256 are needed, or --resume', 2);
  const request = upgradeOf({
    version: to,
    source,
    sha256,
    ...(signature === undefined ? {} : { signature }),
  });
  const plan: Plan = { request, batch, maxFailures, rollbackOnFailure: options.rollbackOnFailure === true };
  return RolloutState.begin(options.state ?? `rollout-${to}.json`, plan);
}

function counts(targets: readonly Target[], state: RolloutState): Record<TargetState['state'], number> {
  const sums = { waiting: 0, running: 0, done: 0, failed: 0, undone: 0 };
  for (const { name } of targets) sums[state.of(name).state]++;
  return sums;
}

function conclusion(outcome: RolloutOutcome, failures: number, state: RolloutState): string {
  const { request, maxFailures } = state.plan;
  if (outcome === 'done' && failures === 0) return `version ${request.version} is rolled out`;
  if (outcome === 'done')
    return `version ${request.version} is rolled out but for ${failures}; try those again with --resume ${state.path}`;
  const why = outcome === 'stopped' ? 'stopped' : `stopped: more than ${maxFailures} failed`;
  return `${why}; go on with --resume ${state.path}`;
}

type Steps = ReadonlyMap<string, Progress>;

/** What is under way and what failed comes first. */
function table(targets: readonly Target[], state: RolloutState, steps: Steps): string {
  const order = ['failed', 'running', 'undone', 'done', 'waiting'];
  const rows = targets
    .map(({ name }) => ({ name, ...state.of(name) }))
    .sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const drawn = rows.slice(0, rowsShown).map(({ name, state: now, detail = '' }) => {
    const progress = now === 'running' ? steps.get(name) : undefined;
    return [name, now, progress ? describe(progress) : detail];
  });
  const more = rows.length > rowsShown ? `\nand ${rows.length - rowsShown} more` : '';
  const sums = Object.entries(counts(targets, state)).map(([name, count]) => `${count} ${name}`);
  return `${tableOf(['target', 'state', ''], drawn)}${more}\n${sums.join(', ')}`;
}

interface View {
  change(target: Target, state: TargetState, progress?: Progress): void;
  wave(text: string): void;
  end(): void;
}

/** A table that is drawn anew, for terminals. */
class TableView implements View {
  readonly #steps = new Map<string, Progress>();
  #wave = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly targets: readonly Target[],
    private readonly state: RolloutState,
  ) {}

  change({ name }: Target, _state: TargetState, progress?: Progress): void {
    if (progress) this.#steps.set(name, progress);
    this.#timer ??= setTimeout(() => this.#draw(), drawEveryMs);
  }
  wave(text: string): void {
    this.#wave = text;
  }
  end(): void {
    clearTimeout(this.#timer);
    clear();
  }

  #draw(): void {
    this.#timer = undefined;
    redraw(`${this.#wave}\n${table(this.targets, this.state, this.#steps)}`);
  }
}

/** A line for each change of a target's state or step. */
class LineView implements View {
  readonly #last = new Map<string, string>();

  change({ name }: Target, { state, detail }: TargetState, progress?: Progress): void {
    const line = progress
      ? `${name}: ${progress.step}`
      : `${name}: ${state}${detail === undefined ? '' : ` (${detail})`}`;
    if (this.#last.get(name) === line) return;
    this.#last.set(name, line);
    print(shownText(line));
  }
  wave(text: string): void {
    print(text);
  }
  end(): void {
    // Everything was said.
  }
}

/** A JSON object for each change of a target's state. */
class JsonView implements View {
  change({ name }: Target, state: TargetState, progress?: Progress): void {
    if (progress === undefined) printJson({ target: name, ...state });
  }
  wave(text: string): void {
    printJson({ wave: text });
  }
  end(): void {
    // The command says the outcome.
  }
}
