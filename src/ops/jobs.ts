/**
 * Upgrades and rollbacks, one at a time: download, verify, unpack, check the version, replace the agent (replace-agent.ts), watch the new one, and go back when it
 * does not do well. Each step is on disk before it begins; a restarted ops agent goes on from there (recover.ts).
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import type { Logger } from '../observe/logger.js';
import { errorText } from '../base/errors.js';
import { lookAtAgent } from './agent-health.js';
import type { HealthLook } from './agent-health.js';
import { isOutcome } from './api.js';
import type { Handoff, Outcome, Progress, Step, UpgradeRequest } from './api.js';
import type { OpsConfig } from './config.js';
import { checkVersion } from './check-version.js';
import { fetchArchive } from './fetch-archive.js';
import type { ProgressLog } from './progress-log.js';
import { ReplaceAgent } from './replace-agent.js';
import type { StateFile } from './state-file.js';
import type { Supervisor } from './supervisor.js';
import { commandIn, packageIn } from './versions.js';
import type { Versions } from './versions.js';
import { watchProbation } from './watch-probation.js';

/** Steps up to the moment at which another agent begins to run: without a record none of them begins. */
const FIRST_STEPS: readonly Step[] = ['downloading', 'verifying', 'unpacking', 'checking', 'starting'];

/** What cannot be begun now, with the HTTP status that says so. */
export class JobRefused extends Error {
  constructor(
    readonly statusCode: number,
    message: string,
  ) {
    super(message);
  }
}

/** See the file's head. */
export class Jobs {
  readonly replace: ReplaceAgent;
  readonly #calledOff = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: OpsConfig,
    private readonly state: StateFile,
    private readonly versions: Versions,
    private readonly supervisor: Supervisor,
    private readonly progress: ProgressLog,
    private readonly log: Logger,
  ) {
    this.replace = new ReplaceAgent(config.agent, state, supervisor, this.#calledOff.signal, log);
  }

  /** @returns the job's id; @throws JobRefused */
  upgrade(request: UpgradeRequest): string {
    this.#mayBegin();
    const { version, sha256 } = request;
    const { current } = this.state.now;
    if (version === current) throw new JobRefused(409, `version ${version} is the current one`);
    const there = this.versions.find(version);
    const isThere = there?.sha256 === sha256;
    if (there !== undefined && !isThere && !this.state.now.neverRan.includes(version))
      throw new JobRefused(
        409,
        `another archive is installed as version ${version}, and has run: ${there.sha256}; give the new one another name`,
      );
    return this.#begin('upgrade', version, isThere ? 'checking' : 'downloading', async () => {
      if (isThere) await this.#check(version, this.versions.packageOf(version));
      else await this.#install(request);
      this.step('starting');
      const before = await this.#look();
      const handoff = await this.replace.by(version, { current: version, previous: current }, () =>
        this.step('handing over'),
      );
      await this.probation(before, handoff);
    });
  }

  /** Goes back to the version before, at an operator's wish. @returns the job's id; @throws JobRefused */
  rollback(): string {
    this.#mayBegin();
    const { current, previous } = this.state.now;
    if (previous === null) throw new JobRefused(409, 'there is no version before the current one');
    return this.#begin('rollback', previous, 'starting', async () => {
      this.step('starting');
      const after = { current: previous, previous: current };
      const handoff = await this.replace.by(previous, after, () => this.step('handing over'));
      this.end('done', handoff === undefined ? {} : { handoff });
    });
  }

  /** Takes over an agent that was started by hand. @returns the job's id; @throws JobRefused */
  adopt(): string {
    this.#mayBegin();
    if (this.supervisor.isServing)
      throw new JobRefused(
        409,
        `an agent is kept already, process ${this.supervisor.serving?.pid}; nothing is to be adopted`,
      );
    return this.#begin('adopt', this.state.now.current, 'starting', async () => {
      const handoff = await this.replace.fromStranger(() => this.step('handing over'));
      this.end('done', handoff === undefined ? {} : { handoff });
    });
  }

  /** Does the rest of a job. Whatever it throws is the job's failure. */
  go(work: () => Promise<void>): void {
    this.#running = work().catch((error: unknown) => {
      if (this.#calledOff.signal.aborted) return;
      this.end('failed', { detail: errorText(error) });
    });
  }

  /** Calls off what is under way, without an outcome: a restarted ops agent gives it one. */
  async close(): Promise<void> {
    this.#calledOff.abort();
    await this.#running;
  }

  /** Watches the agent that has just begun to serve, and ends the job. */
  async probation(before: HealthLook | undefined, handoff: Handoff | undefined): Promise<void> {
    this.step('probation', handoff === undefined ? {} : { handoff });
    const run = this.supervisor.serving;
    const options = { bounds: this.config.probation, admin: () => this.supervisor.admin, before };
    const failed =
      run === undefined
        ? 'the process is gone'
        : await watchProbation(run, { ...options, signal: this.#calledOff.signal });
    if (failed === undefined) this.end('done');
    else await this.rollBack(failed);
  }

  /** Back to what was before the job, by a second handoff or, where there is nobody to take over from, by a plain start. */
  async rollBack(why: string): Promise<void> {
    const before = this.state.now.job?.before;
    if (before === undefined) throw new Error('no job is under way');
    const { supervisor } = this;
    this.step('rolling back', { detail: why });
    supervisor.hold();
    const failed = supervisor.serving;
    if (failed !== undefined) {
      try {
        await this.replace.by(before.current, before);
      } catch (error) {
        this.#calledOff.signal.throwIfAborted();
        this.log.error({ error: errorText(error) }, 'the failed version does not hand over; it is ended');
        await failed.stop(this.config.agent.stopMs);
      }
    }
    if (supervisor.serving === undefined) {
      // Also if it does not start: it is the one to be tried again.
      this.state.note(before);
      await this.replace.by(before.current, before).catch((error: unknown) => {
        throw new Error(`${why}; rolling back failed too: ${errorText(error)}`, { cause: error });
      });
    }
    this.end('rolled-back', { detail: why });
  }

  /** Writes down and tells that a step of the job begins. */
  step(step: Step, more: Pick<Progress, 'detail' | 'handoff'> = {}): void {
    const { job } = this.state.now;
    if (job === null) throw new Error('no job is under way');
    const { before, bytes: _bytes, totalBytes: _total, ...kept } = job;
    const now: Progress = { ...kept, ...more, step, at: new Date().toISOString() };
    if (FIRST_STEPS.includes(step)) this.state.set({ job: { ...now, before } });
    else this.state.note(isOutcome(step) ? { job: null, last: now } : { job: { ...now, before } });
    this.log[step === 'failed' || step === 'rolling back' ? 'error' : 'info'](now, `${now.kind}: ${step}`);
    this.progress.tell(now);
  }

  /** The outcome of the job. */
  end(outcome: Outcome, more: Pick<Progress, 'detail' | 'handoff'> = {}): void {
    const { current, previous } = this.state.now;
    const removed = this.versions.prune(this.config.versions.keep, [current, previous]);
    if (removed.length > 0) this.log.info({ versions: removed }, 'old versions were removed');
    this.supervisor.release();
    this.step(outcome, more);
  }

  #mayBegin(): void {
    const { job } = this.state.now;
    if (job !== null)
      throw new JobRefused(409, `${job.kind} to version ${job.version} is under way: ${job.step}`);
    if (this.#calledOff.signal.aborted) throw new JobRefused(503, 'this ops agent is about to end');
  }

  #begin(kind: Progress['kind'], version: string, first: Step, work: () => Promise<void>): string {
    const job = randomUUID();
    const { current, previous } = this.state.now;
    const at = new Date().toISOString();
    this.state.set({ job: { job, kind, version, step: first, at, before: { current, previous } } });
    this.go(work);
    return job;
  }

  /** What has never run can be replaced, and what is refused leaves what is there. */
  async #install({ version, source, sha256 }: UpgradeRequest): Promise<void> {
    const { versions, config, state } = this;
    const archive = versions.downloadPath(version);
    try {
      this.step('downloading');
      const directory = await versions.preparePartial(version);
      const events = {
        onBytes: (...so: [number, number | undefined]) => this.#tellBytes(...so),
        onStep: (step: Step) => this.step(step),
      };
      const order = { source, sha256, archive, directory, limits: config.versions };
      await fetchArchive(order, events, this.#calledOff.signal);
      await this.#check(version, packageIn(directory));
      const known = versions.list().map((one) => one.version);
      const neverRan = state.now.neverRan.filter((name) => name !== version && known.includes(name));
      state.set({ neverRan: [...neverRan, version] });
      versions.install(version, { sha256, source, installedAt: new Date().toISOString() });
    } catch (error) {
      await versions.removePartial();
      throw error;
    }
    rmSync(archive, { force: true });
  }

  async #check(version: string, directory: string): Promise<void> {
    this.step('checking');
    const { agent, versions } = this.config;
    const command = commandIn(directory, version, agent.command);
    const options = { agentConfig: agent.config, checkMs: versions.checkMs };
    await checkVersion({ version, directory, command }, options, this.#calledOff.signal);
  }

  /** Bytes are told, not written down: nothing of a download survives. */
  #tellBytes(bytes: number, totalBytes: number | undefined): void {
    const { job } = this.state.now;
    if (job === null) return;
    const { before: _before, ...now } = job;
    this.progress.tell({ ...now, bytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
  }

  async #look(): Promise<HealthLook | undefined> {
    const { admin, serving } = this.supervisor;
    if (admin === null || serving === undefined) return undefined;
    return lookAtAgent(admin, this.config.probation.answerMs);
  }
}
