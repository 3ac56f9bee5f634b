// A process that a test started: its output, its end, its messages. Every process is started here, so that none can outlive the
// test run: what is still there when the test process ends is killed by its pid.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { inTime, patienceMs } from './until.js';

/** How a process ended. */
export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface StartOptions {
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Needs root. */
  uid?: number;
  /** A program and its arguments that run the process, and become it: `ip netns exec name`. */
  through?: readonly [string, ...string[]];
  /** What comes on its standard input; nothing if absent. */
  input?: string | Buffer;
}

const alive = new Set<ChildProcess>();
function endAll(): void {
  for (const child of alive) child.kill('SIGKILL');
}
process.once('exit', endAll);
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    endAll();
    process.kill(process.pid, signal);
  });
}

/** See the file's head. */
export class RunningProcess {
  readonly child: ChildProcess;
  /** What its environment was given beside the test's own. */
  readonly env: Record<string, string | undefined>;
  readonly ended: Promise<Ending>;
  stdout = '';
  stderr = '';
  ending: Ending | undefined;
  readonly #outputWaiters = new Set<() => void>();
  readonly #messageListeners = new Set<(message: never) => void>();

  constructor(
    readonly name: string,
    script: string,
    args: readonly string[] = [],
    options: StartOptions = {},
  ) {
    this.env = options.env ?? {};
    this.child = fork(script, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', 'ipc'],
      serialization: 'advanced',
      // What the machine's user has set must not decide what is tested.
      env: { ...withoutRingside(process.env), ...options.env },
      ...(options.through === undefined
        ? { execArgv: [] }
        : { execPath: options.through[0], execArgv: [...options.through.slice(1), process.execPath] }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
    });
    alive.add(this.child);
    if (options.input !== undefined) this.child.stdin?.end(options.input);
    const heard = (): void => {
      for (const look of [...this.#outputWaiters]) look();
    };
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
      heard();
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
      heard();
    });
    this.child.on('message', (message) => {
      for (const listener of [...this.#messageListeners]) listener(message as never);
    });
    // `close` comes after the last output.
    this.ended = new Promise<Ending>((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        alive.delete(this.child);
        this.ending = { code, signal };
        heard();
        resolve(this.ending);
      });
    });
    this.ended.catch(() => undefined);
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.child.pid;
  }

  /** Everything it wrote, for messages of failures. */
  get output(): string {
    return `--- ${this.name}, standard output:\n${this.stdout}\n--- ${this.name}, standard error:\n${this.stderr}`;
  }

  onMessage(listener: (message: never) => void): () => void {
    this.#messageListeners.add(listener);
    return () => this.#messageListeners.delete(listener);
  }

  /** The first message that `pick` accepts; fails if the process ends before. */
  message<T>(what: string, pick: (message: never) => T | undefined): Promise<T> {
    let stop = (): void => undefined;
    const came = new Promise<T>((resolve, reject) => {
      stop = this.onMessage((message) => {
        const picked = pick(message);
        if (picked !== undefined) resolve(picked);
      });
      void this.ended.then(({ code, signal }) =>
        reject(new Error(`${this.name} ended (${code ?? signal}) while waited for ${what}\n${this.output}`)),
      );
    });
    return inTime(`${what} of ${this.name}`, came, patienceMs, () => this.output).finally(() => stop());
  }

  /** Waits until the process has written something that `look` finds in all of its output. */
  seen<T>(what: string, look: (stdout: string, stderr: string) => T | undefined | false): Promise<T> {
    let check = (): void => undefined;
    const came = new Promise<T>((resolve, reject) => {
      check = () => {
        const found = look(this.stdout, this.stderr);
        if (found !== undefined && found !== false) resolve(found);
        else if (this.ending) reject(new Error(`${this.name} ended without ${what}\n${this.output}`));
      };
      this.#outputWaiters.add(check);
      check();
    });
    return inTime(`${what} of ${this.name}`, came, patienceMs, () => this.output).finally(() =>
      this.#outputWaiters.delete(check),
    );
  }

  signal(signal: NodeJS.Signals): void {
    if (this.ending === undefined) this.child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ending> {
    this.signal(signal);
    return this.over();
  }

  /** Waits for the end. */
  over(): Promise<Ending> {
    return inTime(`the end of ${this.name}`, this.ended, patienceMs, () => this.output);
  }
}

/** An npm that runs the tests must not pass for one that runs what they start. */
const notOfTests = ['NODE_OPTIONS', 'npm_lifecycle_event', 'npm_command'];

function withoutRingside(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !name.startsWith('RINGSIDE_') && !notOfTests.includes(name)),
  );
}
