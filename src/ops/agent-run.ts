/**
 * One run of an agent: a process that this ops agent started, or one that its predecessor started and that still lives. It is no child in the
 * sense of dying with its parent: it has a session of its own, inherits standard output, and writes standard error to a file, so that no
 * pipe breaks when the ops agent ends.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../base/errors.js';
import type { Handoff } from './api.js';
import { identityOf, isRunning, RUN_MARK } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';

/** How often an adopted process is looked for: only a parent is told of an end. */
const LOOK_MS = 200;
/** As much of standard error is told when an agent fails. */
const STDERR_CHARACTERS = 2_000;

/** What an agent says over its channel once it serves (src/cli/run-agent.ts). */
export interface Ready {
  admin?: number;
  handoff?: Handoff;
}

/** How a run ended; both null for an adopted process, whose code only its parent got, and for one that could not be started. */
export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface StartSpec {
  run: string;
  version: string;
  command: readonly string[];
  /** Directory for standard error. */
  directory: string;
}

/** See the file's head. */
export class AgentRun {
  /** Resolves when it serves. Never rejects; race it with `ended`. Never resolves for an adopted run. */
  readonly ready: Promise<Ready>;
  readonly ended: Promise<Ending>;
  ending: Ending | undefined;
  #startError: string | undefined;

  private constructor(
    readonly run: string,
    readonly version: string,
    readonly identity: ProcessIdentity | undefined,
    private readonly child: ChildProcess | undefined,
    private readonly stderrFile: string,
    ended: Promise<Ending>,
  ) {
    this.ready = new Promise((resolve) => {
      child?.on('message', (message: Ready & { ready?: boolean }) => {
        if (message?.ready === true) resolve(message);
      });
    });
    this.ended = ended.then((ending) => (this.ending = ending));
  }

  /** Starts a process; that it could not be started is its end. */
  static start({ run, version, command, directory }: StartSpec): AgentRun {
    const stderrFile = join(directory, `${run}.stderr`);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const stderr = openSync(stderrFile, 'w', 0o600);
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'inherit', stderr, 'ipc'],
      // The service manager, if there is one, is told about the ops agent, not about its agents.
      env: { ...process.env, NOTIFY_SOCKET: undefined, [RUN_MARK]: run },
    });
    closeSync(stderr);
    const ended = new Promise<Ending>((resolve) => {
      child.once('error', (error) => {
        startError = errorText(error);
        resolve({ code: null, signal: null });
      });
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    let startError: string | undefined;
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    const started = new AgentRun(run, version, identity, child, stderrFile, ended);
    void ended.then(() => (started.#startError = startError));
    return started;
  }

  /** Watches a process that a predecessor of this ops agent started. */
  static adopt(run: string, version: string, identity: ProcessIdentity, directory: string): AgentRun {
    const ended = new Promise<Ending>((resolve) => {
      const timer = setInterval(() => {
        if (isRunning(identity)) return;
        clearInterval(timer);
        resolve({ code: null, signal: null });
      }, LOOK_MS);
    });
    return new AgentRun(run, version, identity, undefined, join(directory, `${run}.stderr`), ended);
  }

  /** Whether another process started it. */
  get adopted(): boolean {
    return this.child === undefined;
  }

  get pid(): number | undefined {
    return this.identity?.pid;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.ending !== undefined || this.identity === undefined || !isRunning(this.identity)) return;
    const { pid } = this.identity;
    try {
      // What a launcher left behind goes with it; an agent that is asked to end decides for itself.
      process.kill(signal === 'SIGKILL' ? -pid : pid, signal);
    } catch {
      // Gone between the two looks.
    }
  }

  /** Asks it to end, and kills it when it takes longer than `patienceMs`. */
  async stop(patienceMs: number): Promise<Ending> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), patienceMs);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it at once. */
  kill(): Promise<Ending> {
    this.signal('SIGKILL');
    return this.ended;
  }

  /** How it ended, in words, with the end of what it wrote to standard error. */
  describeEnd(): string {
    if (this.#startError !== undefined) return `could not be started: ${this.#startError}`;
    const { code, signal } = this.ending ?? { code: null, signal: null };
    const how =
      signal !== null ? `was ended by ${signal}` : code !== null ? `ended with code ${code}` : 'ended';
    const said = this.#stderr();
    return said === '' ? how : `${how}: ${said}`;
  }

  /** Removes what it left on disk. */
  forget(): void {
    rmSync(this.stderrFile, { force: true });
  }

  #stderr(): string {
    try {
      return readFileSync(this.stderrFile, 'utf8').trim().slice(-STDERR_CHARACTERS);
    } catch {
      return '';
    }
  }
}
