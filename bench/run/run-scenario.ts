// Runs one scenario: starts the two applications and everything between them, lets every path have its turn in every round, and ends all
// processes. A shared machine changes its speed from minute to minute, so the paths alternate quickly and their order
// changes from round to round.
import { setInterval } from 'node:timers/promises';
import type { LoadPlan, LoadResult } from '../load/messages.js';
import { openPath } from '../paths/paths.js';
import type { Applications, PathName } from '../paths/paths.js';
import { AbsentError, Processes } from '../paths/processes.js';
import { countSyscalls } from './count-syscalls.js';
import { keepAwake } from './keep-awake.js';
import { consumptionOf, memoryOf } from './process-facts.js';
import type { Consumption, Memory } from './process-facts.js';
import { saturationInFlight } from './scenarios.js';
import type { Scenario, Variant } from './scenarios.js';

/** Calls of a path, back to back, before anything is measured, so that V8's compiler has done its work. */
const firstWarmUpSeconds = 1;
const firstWarmUpPace: LoadPlan['pace'] = { inFlight: 2 };
/** At the start of each turn: caches, and the clock of the core. */
const turnWarmUpSeconds = 0.3;
const calibrationSeconds = 1.5;
const calibrationRounds = 3;
const memoryEveryMs = 1000;

export interface RunOptions {
  keepAwake: boolean;
  /** Count the system calls of what stands between, in one more turn of each path. */
  syscalls: boolean;
  interrupted: AbortSignal;
  say: (text: string) => void;
}

/** One path's part of one round of one variant. */
export interface Turn {
  path: PathName;
  load: LoadResult;
  /** Of what stands between the applications. */
  between: Consumption;
  /** Of the two applications. */
  applications: Consumption;
  memory: Memory;
}

/** What one run brought. */
export interface ScenarioRun {
  /** Rounds by variant; in each round one turn per path. */
  variants: { variant: Variant; rounds: Turn[][] }[];
  absent: Partial<Record<PathName, string>>;
  /** System calls per request, by path. */
  syscalls?: Partial<Record<PathName, number>>;
  /** Of what stands between, each second, by path and process. */
  memory?: { path: PathName; atSeconds: number; anonBytes: number[] }[];
}

/** See the file's head. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioRun> {
  const processes = new Processes();
  try {
    return await new Run(scenario, options, processes).all();
  } finally {
    await processes.stop();
  }
}

class Run {
  readonly #applications: Applications;
  /** Ids of what stands between the applications, by path. */
  readonly #between = new Map<PathName, number[]>();
  readonly #absent: ScenarioRun['absent'] = {};
  readonly #interrupted: Promise<never>;
  readonly #memory: NonNullable<ScenarioRun['memory']> = [];

  constructor(
    readonly scenario: Scenario,
    readonly options: RunOptions,
    readonly processes: Processes,
  ) {
    this.#interrupted = new Promise((_, reject) => {
      const interrupt = (): void => reject(new Error('interrupted'));
      if (options.interrupted.aborted) interrupt();
      options.interrupted.addEventListener('abort', interrupt, { once: true });
    });
    // It may come when nobody waits for it; the next load will.
    this.#interrupted.catch(() => undefined);
    this.#applications = {
      server: processes.script('server application', 'load/echo-server.js'),
      client: processes.script('client application', 'load/load-client.js'),
    };
  }

  async all(): Promise<ScenarioRun> {
    await this.#open();
    if (this.options.keepAwake) keepAwake(this.processes);
    for (const path of this.#between.keys()) {
      for (const variant of this.scenario.variants) {
        this.options.say(`warming up ${path}, ${variant.name}`);
        await this.#load(path, { ...variant, pace: firstWarmUpPace }, firstWarmUpSeconds);
      }
    }
    const variants = await this.#variants();
    const measured = variants.map((variant) => ({ variant, rounds: [] as Turn[][] }));
    for (let round = 0; round < this.scenario.rounds; round++) {
      for (const { variant, rounds } of measured) rounds.push(await this.#round(variant, round));
    }
    return {
      variants: measured,
      absent: this.#absent,
      ...(this.options.syscalls ? { syscalls: await this.#syscalls(variants[0] as Variant) } : {}),
      ...(this.scenario.watchesMemory ? { memory: this.#memory } : {}),
    };
  }

  async #open(): Promise<void> {
    for (const path of this.scenario.paths) {
      this.options.say(`starting ${path}`);
      try {
        const between = await openPath(path, this.#applications, this.processes);
        this.#between.set(
          path,
          between.map(({ pid }) => pid),
        );
      } catch (error) {
        if (!(error instanceof AbsentError)) throw error;
        this.#absent[path] = error.message;
        this.options.say(`${path} is absent: ${error.message}`);
      }
    }
    if (this.#between.size === 0) throw new Error('none of the paths can be measured on this machine');
  }

  /** The scenario's variants, with a pace that is found out first where it asks for that. */
  async #variants(): Promise<readonly Variant[]> {
    const { paceFromSaturation, variants } = this.scenario;
    if (paceFromSaturation === undefined) return variants;
    const { share, of } = paceFromSaturation;
    const throughputs: number[] = [];
    for (const path of of.filter((one) => this.#between.has(one))) {
      const reached: number[] = [];
      for (let i = 0; i < calibrationRounds; i++) {
        const saturated = { ...(variants[0] as Variant), pace: { inFlight: saturationInFlight } };
        this.options.say(`how much does ${path} take?`);
        const load = await this.#load(path, saturated, calibrationSeconds);
        reached.push((load.requests - load.errors) / load.elapsedSeconds);
      }
      throughputs.push(reached.sort((a, b) => a - b)[Math.floor(calibrationRounds / 2)] as number);
    }
    if (throughputs.length === 0) throw new Error(`none of ${of.join(', ')} is there to set the pace`);
    const ratePerSecond = Math.round(share * Math.min(...throughputs));
    return variants.map((variant) => ({ ...variant, pace: { ratePerSecond } }));
  }

  async #round(variant: Variant, round: number): Promise<Turn[]> {
    const paths = [...this.#between.keys()];
    const start = round % paths.length;
    const order = [...paths.slice(start), ...paths.slice(0, start)];
    // Every other round runs backwards, so that no path always follows the same one.
    if (round % 2 === 1) order.reverse();
    const turns: Turn[] = [];
    for (const path of order) {
      this.options.say(`round ${round + 1} of ${this.scenario.rounds}: ${path}, ${variant.name}`);
      turns.push(await this.#turn(path, variant));
    }
    return turns;
  }

  async #turn(path: PathName, variant: Variant): Promise<Turn> {
    const between = this.#between.get(path) as number[];
    const applications = [this.#applications.client.pid, this.#applications.server.pid];
    await this.#load(path, variant, turnWarmUpSeconds);
    const before = [consumptionOf(between), consumptionOf(applications)] as const;
    const watching = new AbortController();
    const watched = this.scenario.watchesMemory ? this.#watchMemory(path, watching.signal) : undefined;
    const load = await this.#load(path, variant, this.scenario.seconds);
    watching.abort();
    await watched;
    return {
      path,
      load,
      between: difference(before[0], consumptionOf(between)),
      applications: difference(before[1], consumptionOf(applications)),
      memory: memoryOf(between),
    };
  }

  async #load(path: PathName, variant: Variant, seconds: number): Promise<LoadResult> {
    this.processes.checkAllRun();
    const { pace, bodyBytes } = variant;
    const plan: LoadPlan = { pace, bodyBytes, seconds };
    const done = this.#applications.client.ask<LoadResult>({ load: { ...plan, path } });
    return Promise.race([done, this.#interrupted]);
  }

  async #watchMemory(path: PathName, until: AbortSignal): Promise<void> {
    const startMs = performance.now();
    try {
      for await (const _ of setInterval(memoryEveryMs, undefined, { signal: until })) {
        const pids = this.#between.get(path) as number[];
        const anonBytes = pids.map((pid) => memoryOf([pid]).anonBytes);
        this.#memory.push({ path, atSeconds: (performance.now() - startMs) / 1000, anonBytes });
      }
    } catch {
      // The turn is over, or a process is gone, which the next load tells.
    }
  }

  async #syscalls(variant: Variant): Promise<NonNullable<ScenarioRun['syscalls']>> {
    const perRequest: NonNullable<ScenarioRun['syscalls']> = {};
    for (const [path, pids] of this.#between) {
      if (pids.length === 0) continue;
      this.options.say(`counting system calls of ${path}`);
      let requests = 0;
      const calls = await countSyscalls(pids, this.processes, async () => {
        ({ requests } = await this.#load(path, variant, this.scenario.seconds));
      });
      perRequest[path] = calls / requests;
    }
    return perRequest;
  }
}

function difference(before: Consumption, after: Consumption): Consumption {
  return { cpuUs: after.cpuUs - before.cpuUs, wakeups: after.wakeups - before.wakeups };
}
