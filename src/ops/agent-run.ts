/**
 * One run of an agent: a process that this ops agent started, or one that its predecessor started and that still lives. It is no child in the
 * sense of dying with its parent: it has a session of its own, inherits standard output, and writes standard error, and what it tells once it
 * serves, to files (run-files.ts), so that no pipe breaks when the ops agent ends.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { errorText } from '../base/errors.js';
import { identityOf, isRunning, RUN_MARK } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';
import { READY_FILE, readyIn, RunFiles } from './run-files.js';
import type { Ready } from './run-files.js';

/** How often an adopted process is looked for, and its files are looked at: only a parent is told of anything. */
const LOOK_MS = 200;
/** How often it is made sure that standard error stays short. */
const TRIM_MS = 1_000;
/** As much of standard error is told when an agent fails. */
const TOLD_STDERR_BYTES = 2_000;

/** Where no file can be made, standard error goes where our own does: better an agent that nobody hears than none. */
function fileOrOurs(open: () => number): number | 'inherit' {
  try {
    return open();
  } catch {
    return 'inherit';
  }
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
  /** Where its files go. */
  directory: string;
}

/** See the file's head. */
export class AgentRun {
  /** Resolves when it has told that it serves. Never rejects; race it with `ended`. */
  readonly ready: Promise<Ready>;
  readonly ended: Promise<Ending>;
  ending: Ending | undefined;
  #startError: string | undefined;

  private constructor(
    readonly run: string,
    readonly version: string,
    readonly identity: ProcessIdentity | undefined,
    private readonly child: ChildProcess | undefined,
    private readonly files: RunFiles,
    ready: Promise<Ready>,
    ended: Promise<Ending>,
  ) {
    this.ready = ready;
    this.ended = ended.then((ending) => (this.ending = ending));
    const trimming = setInterval(() => files.trimStderr(), TRIM_MS).unref();
    void this.ended.then(() => clearInterval(trimming));
  }

  /** Starts a process; that it could not be started is its end. */
  static start({ run, version, command, directory }: StartSpec): AgentRun {
    const files = new RunFiles(directory, run);
    const stderr = fileOrOurs(() => files.openStderr());
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'inherit', stderr, 'ipc'],
      // The service manager, if there is one, is told about the ops agent, not about its agents.
      env: { ...process.env, NOTIFY_SOCKET: undefined, [RUN_MARK]: run, [READY_FILE]: files.readyFile },
    });
    if (typeof stderr === 'number') closeSync(stderr);
    const ready = new Promise<Ready>((resolve) => {
      child.on('message', (message: unknown) => {
        const told = readyIn(message);
        if (told !== undefined) resolve(told);
      });
    });
    const ended = new Promise<Ending>((resolve) => {
      child.once('error', (error) => {
        startError = errorText(error);
        resolve({ code: null, signal: null });
      });
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    let startError: string | undefined;
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    const started = new AgentRun(run, version, identity, child, files, ready, ended);
    void ended.then(() => (started.#startError = startError));
    return started;
  }

  /** Watches a process that a predecessor of this ops agent started. */
  static adopt(run: string, version: string, identity: ProcessIdentity, directory: string): AgentRun {
    const files = new RunFiles(directory, run);
    let tell: (told: Ready) => void = () => undefined;
    const ready = new Promise<Ready>((resolve) => (tell = resolve));
    const ended = new Promise<Ending>((resolve) => {
      const look = (): void => {
        const told = files.readReady();
        if (told !== undefined) tell(told);
        if (isRunning(identity)) return;
        clearInterval(timer);
        resolve({ code: null, signal: null });
      };
      const timer = setInterval(look, LOOK_MS);
      look();
    });
    return new AgentRun(run, version, identity, undefined, files, ready, ended);
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
    const said = this.files.stderrTail(TOLD_STDERR_BYTES);
    return said === '' ? how : `${how}: ${said}`;
  }

  /** Removes what it left on disk. */
  forget(): void {
    this.files.remove();
  }
}
