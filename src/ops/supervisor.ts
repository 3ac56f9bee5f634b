/**
 * Keeps an agent running: starts it, starts it again with backoff when it crashes, hands signals on, and knows which process serves. While an
 * upgrade replaces the process it holds still (`hold`), so that an end that belongs to the upgrade is no crash.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from '../observe/logger.js';
import { errorText } from '../base/errors.js';
import { backoffMs } from '../policy/backoff.js';
import { AgentRun } from './agent-run.js';
import type { AgentStatus } from './api.js';
import type { OpsConfig } from './config.js';
import { findMarked, isRunning } from './process-identity.js';
import { RunFiles } from './run-files.js';
import { NO_ADMIN } from './state-file.js';
import type { AgentRecord, StateFile } from './state-file.js';
import type { Versions } from './versions.js';

/** See the file's head. */
export class Supervisor {
  #run: AgentRun | undefined;
  #held = false;
  #stopping = false;
  #crashes = 0;
  #startedAtMs = 0;
  #again: NodeJS.Timeout | undefined;
  #isReady = false;

  constructor(
    private readonly config: OpsConfig['agent'],
    private readonly directory: string,
    private readonly state: StateFile,
    private readonly versions: Versions,
    private readonly log: Logger,
  ) {}

  /** The process that serves, if one runs. */
  get serving(): AgentRun | undefined {
    return this.#run?.ending === undefined ? this.#run : undefined;
  }

  /** Whether the process that serves has told so. */
  get isServing(): boolean {
    return this.serving !== undefined && this.#isReady;
  }

  /** Where the agent's admin server answers; null where nothing is to be asked. */
  get admin(): string | null {
    if (this.config.admin === null) return null;
    const told = this.state.now.agent?.admin ?? this.config.admin;
    return told === NO_ADMIN ? null : told;
  }

  status(): AgentStatus {
    const { serving } = this;
    const state = serving ? (this.#isReady ? 'running' : 'starting') : this.#again ? 'waiting' : 'stopped';
    const { current, agent } = this.state.now;
    return {
      ...{ state, pid: serving?.pid ?? null, version: agent?.version ?? current },
      ...{ crashes: this.#crashes, admin: this.admin },
    };
  }

  /** Starts the current version beside nothing. */
  start(): AgentRun {
    clearTimeout(this.#again);
    this.#again = undefined;
    const run = this.#launch(this.state.now.current, false, 'agent');
    this.#serveWith(run, false);
    return run;
  }

  /** Starts a version that takes over from the agent that runs; `promote` it once it has. */
  startCandidate(version: string): AgentRun {
    return this.#launch(version, true, 'candidate');
  }

  /** The candidate serves from now on, with whatever else `change` says of the state. */
  promote(run: AgentRun, change: Parameters<StateFile['set']>[0]): void {
    const replaced = this.#run;
    const { candidate, neverRan } = this.state.now;
    this.state.note({
      ...{ ...change, agent: candidate, candidate: null },
      neverRan: neverRan.filter((version) => version !== run.version),
    });
    this.#serveWith(run, true);
    replaced?.forget();
  }

  /** Forgets a candidate that has ended. */
  dismiss(run: AgentRun): void {
    this.state.note({ candidate: null });
    run.forget();
  }

  /** A process of a former ops agent that still runs, as its record says. */
  find(record: AgentRecord | null): AgentRun | undefined {
    if (record === null) return undefined;
    const identity = record.process ?? findMarked(record.run);
    if (identity === undefined || !isRunning(identity)) return undefined;
    const run = AgentRun.adopt(record.run, record.version, identity, this.#runs);
    this.#listen(run);
    return run;
  }

  /** Removes what is left on disk of runs that are none of these. */
  forgetAllBut(runs: readonly (AgentRun | undefined)[]): void {
    RunFiles.removeOthers(
      this.#runs,
      runs.flatMap((run) => run?.run ?? []),
    );
  }

  /** Goes on with a process that was found as the one that serves. */
  adopt(run: AgentRun): void {
    const { agent } = this.state.now;
    if (agent) this.state.note({ agent: { ...agent, process: run.identity ?? null } });
    this.#serveWith(run, true);
  }

  /** From now on the end of the agent is no crash. */
  hold(): void {
    this.#held = true;
    clearTimeout(this.#again);
    this.#again = undefined;
  }

  /** Ends `hold`; an agent that is missing is started. */
  release(): void {
    this.#held = false;
    if (!this.#stopping && this.serving === undefined && this.#again === undefined) this.#startAgain();
  }

  /** Hands a signal on to the agent; SIGHUP once it serves, since it would end a process that has only just been started. */
  signal(signal: NodeJS.Signals): void {
    const { serving } = this;
    if (signal !== 'SIGHUP' || this.#isReady) serving?.signal(signal);
    else void serving?.ready.then(() => serving.signal(signal));
  }

  /** From now on nothing is started any more. */
  beginStop(): void {
    this.#stopping = true;
    this.hold();
  }

  /** Ends the agent and a candidate, gracefully at first. */
  async stop(): Promise<void> {
    this.beginStop();
    const candidate = this.find(this.state.now.candidate);
    await Promise.all([candidate?.stop(this.config.stopMs), this.serving?.stop(this.config.stopMs)]);
    candidate?.forget();
    this.#run?.forget();
    this.state.note({ agent: null, candidate: null });
  }

  get #runs(): string {
    return join(this.directory, 'runs');
  }

  #launch(version: string, takeover: boolean, role: 'agent' | 'candidate'): AgentRun {
    const { command: template, config } = this.config;
    const command = [
      ...this.versions.command(version, template),
      'agent',
      ...(config === null ? [] : ['--config', config]),
      ...(takeover ? ['--takeover'] : []),
    ];
    const record: AgentRecord = { run: randomUUID(), version, process: null, admin: null };
    // Before it exists: whoever restarts us finds it by its mark. An agent that serves nobody yet can wait until that is on disk.
    if (role === 'candidate') this.state.set({ candidate: record });
    else this.state.note({ agent: record });
    const run = AgentRun.start({ run: record.run, version, command, directory: this.#runs });
    this.#write(run, { process: run.identity ?? null });
    this.log.info({ version, agentPid: run.pid, takeover }, 'an agent was started');
    this.#listen(run);
    return run;
  }

  /** Takes in what an agent tells once it serves. */
  #listen(run: AgentRun): void {
    void run.ready.then(({ admin }) => {
      if (admin !== undefined)
        this.#write(run, { admin: admin === null ? NO_ADMIN : `http://${this.#adminHost()}:${admin}` });
      if (this.#run === run) this.#isReady = true;
    });
  }

  #write({ run }: AgentRun, change: Partial<AgentRecord>): void {
    const now = (['agent', 'candidate'] as const).find((key) => this.state.now[key]?.run === run);
    if (now) this.state.note({ [now]: { ...this.state.now[now], ...change } });
  }

  #adminHost(): string {
    return this.config.admin === null ? '127.0.0.1' : new URL(this.config.admin).hostname;
  }

  #serveWith(run: AgentRun, ready: boolean): void {
    this.#run = run;
    this.#isReady = ready;
    this.#startedAtMs = performance.now();
    void run.ended.then(() => this.#onEnd(run));
  }

  #onEnd(run: AgentRun): void {
    if (run !== this.#run || this.#held) return;
    if (performance.now() - this.#startedAtMs >= this.config.steadyMs) this.#crashes = 0;
    this.#crashes++;
    const { backoffBaseMs: baseMs, backoffMaxMs: maxMs } = this.config;
    const waitMs = backoffMs(this.#crashes, { baseMs, maxMs }, Math.random);
    this.log.error(
      { version: run.version, agentPid: run.pid, crashes: this.#crashes, waitMs },
      `the agent ${run.describeEnd()}; it is started again`,
    );
    run.forget();
    this.#again = setTimeout(() => this.#startAgain(), waitMs);
  }

  #startAgain(): void {
    this.#again = undefined;
    try {
      this.start();
    } catch (error) {
      const waitMs = this.config.backoffMaxMs;
      this.log.error({ error: errorText(error), waitMs }, 'the agent cannot be started; it is tried again');
      this.#again = setTimeout(() => this.#startAgain(), waitMs);
    }
  }
}
