/**
 * A rollout: many ops agents are brought to a version in waves, some at a time. It stops as soon as more have failed than may, lets those under way
 * finish, and takes the others back if the plan says so. Whoever follows it is told of each change; `ringside rollout` draws it.
 */
import { errorText } from '../base/errors.js';
import type { Progress } from '../ops/api.js';
import { OpsClient } from '../ops/ops-client.js';
import { waveEnds } from '../policy/waves.js';
import type { RolloutState, TargetState } from './rollout-state.js';
import type { Target } from './targets.js';

/** How long an ops agent may be silent in the middle of a job. */
const PATIENCE_MS = 60_000;

export interface RolloutOptions {
  /** Upgrades at a time. */
  parallel: number;
  /** No further target is touched once it is aborted. */
  signal: AbortSignal;
  /** Something changed: a target's state, or the step it is at. */
  onChange: (target: Target, state: TargetState, progress?: Progress) => void;
  onWave: (wave: number, waves: number, upTo: number) => void;
}

/** How a rollout ended. `stopped`: by the caller; `failed`: too many targets did. */
export type RolloutOutcome = 'done' | 'stopped' | 'failed';

/** See the file's head. */
export class Rollout {
  constructor(
    private readonly targets: readonly Target[],
    private readonly state: RolloutState,
    private readonly options: RolloutOptions,
  ) {}

  get failures(): number {
    return this.targets.filter(({ name }) => this.state.of(name).state === 'failed').length;
  }

  /** Goes on from the state; what failed before is tried again. */
  async run(): Promise<RolloutOutcome> {
    const { plan } = this.state;
    const { signal, onWave } = this.options;
    for (const { name } of this.targets) {
      const { state } = this.state.of(name);
      if (state === 'failed' || state === 'undone') this.state.set(name, { state: 'waiting' });
    }
    const ends = waveEnds(plan.batch, this.targets.length);
    const enough = (): boolean => signal.aborted || this.failures > plan.maxFailures;
    let begin = 0;
    for (const [i, end] of ends.entries()) {
      const wave = this.targets.slice(begin, end).filter(({ name }) => this.state.of(name).state !== 'done');
      begin = end;
      if (wave.length > 0) onWave(i + 1, ends.length, end);
      await this.#each(wave, enough, (target) => this.#upgrade(target));
      if (enough()) break;
    }
    if (this.failures > plan.maxFailures) {
      if (plan.rollbackOnFailure) await this.#undo();
      return 'failed';
    }
    return signal.aborted ? 'stopped' : 'done';
  }

  async #upgrade(target: Target): Promise<void> {
    const { request } = this.state.plan;
    const begun = this.state.of(target.name);
    await this.#withClient(target, async (client) => {
      const { current, job } = await client.status();
      const from = begun.from ?? current;
      let under = job?.kind === 'upgrade' && job.version === request.version ? job.job : undefined;
      if (under === undefined && current === request.version) {
        const upgradedHere = begun.state === 'running' && begun.from !== undefined;
        this.#set(target, {
          state: 'done',
          detail: upgradedHere ? 'upgraded' : 'had it already',
          ...(upgradedHere ? { from } : {}),
        });
        return;
      }
      this.#set(target, { state: 'running', from });
      under ??= await client.upgrade(request);
      const outcome = await client.follow(under, (progress) => this.#tell(target, progress), PATIENCE_MS);
      const { step, detail, handoff } = outcome;
      if (step === 'done')
        this.#set(target, {
          state: 'done',
          detail: 'upgraded',
          from,
          ...(handoff ? { freezeUs: handoff.freezeUs } : {}),
        });
      else
        this.#set(target, { state: 'failed', detail: `${step}: ${detail ?? 'no reason was given'}`, from });
    });
  }

  /** Takes back what this rollout brought, as long as it is still there. */
  async #undo(): Promise<void> {
    const { version } = this.state.plan.request;
    const upgraded = this.targets.filter(({ name }) => {
      const { state, from } = this.state.of(name);
      return state === 'done' && from !== undefined;
    });
    await this.#each(
      upgraded,
      () => false,
      (target) =>
        this.#withClient(target, async (client) => {
          const { from } = this.state.of(target.name);
          const { current, previous } = await client.status();
          if (current !== version || previous !== from)
            throw new Error(
              `not rolled back: it runs ${current} after ${previous ?? 'none'}, not ${version} after ${from}`,
            );
          const job = await client.rollback();
          const { step, detail } = await client.follow(
            job,
            (progress) => this.#tell(target, progress),
            PATIENCE_MS,
          );
          if (step === 'done') this.#set(target, { state: 'undone', detail: `back at ${from}` });
          else throw new Error(`not rolled back: ${detail ?? step}`);
        }),
    );
  }

  /** Whatever goes wrong is a failure of that target. */
  async #withClient(target: Target, work: (client: OpsClient) => Promise<void>): Promise<void> {
    const client = new OpsClient(target.address);
    try {
      await work(client);
    } catch (error) {
      const { from } = this.state.of(target.name);
      this.#set(target, {
        state: 'failed',
        detail: errorText(error),
        ...(from === undefined ? {} : { from }),
      });
    } finally {
      await client.close();
    }
  }

  /** Works on `parallel` of them at a time, until `enough`. */
  async #each(
    targets: readonly Target[],
    enough: () => boolean,
    work: (target: Target) => Promise<void>,
  ): Promise<void> {
    const left = [...targets];
    const worker = async (): Promise<void> => {
      while (!enough()) {
        const target = left.shift();
        if (target === undefined) return;
        await work(target);
      }
    };
    await Promise.all(Array.from({ length: this.options.parallel }, worker));
  }

  #set(target: Target, state: TargetState): void {
    this.state.set(target.name, state);
    this.options.onChange(target, state);
  }

  #tell(target: Target, progress: Progress): void {
    this.options.onChange(target, this.state.of(target.name), progress);
  }
}
