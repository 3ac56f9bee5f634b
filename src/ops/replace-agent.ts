/**
 * Puts an agent of one version in the place of another, or of one that was started by hand: beside the running one with `--takeover`, or alone where none runs. While
 * this goes on, and until the job ends, the supervisor restarts nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../observe/logger.js';
import type { AgentRun } from './agent-run.js';
import type { Handoff } from './api.js';
import type { OpsConfig } from './config.js';
import type { Ready } from './run-files.js';
import type { OpsState, StateFile } from './state-file.js';
import type { Supervisor } from './supervisor.js';

/** How long an adopted process may take to tell that it serves, once the old one is gone. */
const TELLS_MS = 15_000;
/** How long an agent that handed over may take to end; it has nothing left to do. */
const OLD_ENDS_MS = 15_000;

/** What is written down when the new agent serves. */
export type VersionsAfter = Pick<OpsState, 'current' | 'previous'>;

/** See the file's head. */
export class ReplaceAgent {
  constructor(
    private readonly config: OpsConfig['agent'],
    private readonly state: StateFile,
    private readonly supervisor: Supervisor,
    private readonly calledOff: AbortSignal,
    private readonly log: Logger,
  ) {}

  /**
   * @param onTakeover called when a new process runs beside the old one
   * @returns what moved, if an agent was taken over from and the new one told
   * @throws Error if it did not work: the old agent goes on, or none runs
   */
  async by(
    version: string,
    after: VersionsAfter,
    onTakeover = (): void => undefined,
  ): Promise<Handoff | undefined> {
    const { supervisor } = this;
    supervisor.hold();
    const old = supervisor.serving;
    if (old === undefined) {
      await this.#startAlone(after);
      return undefined;
    }
    const next = supervisor.startCandidate(version);
    onTakeover();
    return this.settle(old, next, after);
  }

  /**
   * Takes over from an agent that none of ours started, with one of the current version.
   * @param onTakeover called when the new process runs
   * @returns what moved
   * @throws Error if it did not work: the agent that ran runs on
   */
  async fromStranger(onTakeover: () => void): Promise<Handoff | undefined> {
    this.supervisor.hold();
    // One that is still about to start cannot while the stranger listens where it is to.
    const starting = this.supervisor.serving;
    await starting?.stop(this.config.stopMs);
    starting?.forget();
    const next = this.supervisor.startCandidate(this.state.now.current);
    onTakeover();
    return this.settleFromStranger(next);
  }

  /** Waits for the outcome of such a takeover that has begun. @throws Error as `fromStranger` */
  async settleFromStranger(next: AgentRun): Promise<Handoff | undefined> {
    const told = await this.#within<Ready | 'ended'>(this.config.startMs, [
      next.ready,
      next.ended.then(() => 'ended' as const),
    ]);
    if (told === 'late') await next.kill();
    if (typeof told !== 'object') {
      const why = told === 'late' ? this.#notReady() : next.describeEnd();
      this.supervisor.dismiss(next);
      throw new Error(`the agent of version ${next.version} ${why}`);
    }
    this.supervisor.promote(next, {});
    return told.handoff;
  }

  /**
   * Waits for the outcome of a takeover that has begun.
   * @throws Error as `by`
   */
  async settle(old: AgentRun, next: AgentRun, after: VersionsAfter): Promise<Handoff | undefined> {
    const { supervisor } = this;
    const told = await this.#within<Ready | 'ended' | 'silent'>(this.config.startMs, [
      next.ready,
      next.ended.then(() => 'ended' as const),
      // Started by a former ops agent, a version that writes down nothing never tells: that the old one went is as good.
      ...(next.adopted ? [old.ended.then(() => pause(TELLS_MS, 'silent' as const, { ref: false }))] : []),
    ]);
    // An old process that is gone has handed over, even if the new one did not tell.
    if (told === 'late' && old.ending === undefined) await next.kill();
    if (next.ending !== undefined) {
      const why = told === 'late' ? this.#notReady() : next.describeEnd();
      supervisor.dismiss(next);
      throw new Error(`the agent of version ${next.version} ${why}`);
    }
    supervisor.promote(next, after);
    if ((await this.#within(OLD_ENDS_MS, [old.ended])) === 'late') {
      this.log.warn({ agentPid: old.pid }, 'the old agent handed over and does not end; it is killed');
      await old.kill();
    }
    return typeof told === 'object' ? told.handoff : undefined;
  }

  async #startAlone(after: VersionsAfter): Promise<void> {
    const { current, previous } = this.state.now;
    this.state.note(after);
    try {
      const run = this.supervisor.start();
      const told = await this.#within<Ready | 'ended'>(this.config.startMs, [
        run.ready,
        run.ended.then(() => 'ended' as const),
      ]);
      if (typeof told === 'object') {
        const neverRan = this.state.now.neverRan.filter((version) => version !== run.version);
        return this.state.note({ neverRan });
      }
      await run.kill();
      const why = told === 'late' ? this.#notReady() : run.describeEnd();
      throw new Error(`the agent of version ${run.version} ${why}`);
    } catch (error) {
      this.state.note({ current, previous });
      throw error;
    }
  }

  #notReady(): string {
    return `was not ready within agent.startMs, ${this.config.startMs} ms`;
  }

  /** The first of `events`, or `late`. @throws when the job is called off */
  async #within<T>(ms: number, events: readonly Promise<T>[]): Promise<T | 'late'> {
    let timer: NodeJS.Timeout | undefined;
    let onAbort = (): void => undefined;
    const late = new Promise<'late'>((resolve, reject) => {
      timer = setTimeout(() => resolve('late'), ms);
      onAbort = () => reject(new Error('called off'));
      this.calledOff.addEventListener('abort', onAbort, { once: true });
      if (this.calledOff.aborted) onAbort();
    });
    try {
      return await Promise.race([...events, late]);
    } finally {
      clearTimeout(timer);
      this.calledOff.removeEventListener('abort', onAbort);
    }
  }
}
