// A process that the demo or the benchmark started and must end again: by its own id, gracefully if it lets itself be ended. What it
// writes is kept, so that a failure can show why. Node scripts are asked and answered over Node's channel.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

const maxOutputChars = 16_384;
const stopTimeoutMs = 5_000;

/** See the file's head. */
export class OwnedProcess {
  readonly #process: ChildProcess;
  readonly #exited: Promise<string>;
  #ended: string | undefined;
  #output = '';

  /** @param channel whether the program is a Node script that answers `ask` */
  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    { channel = false, env }: { channel?: boolean; env?: NodeJS.ProcessEnv } = {},
  ) {
    this.#process = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...(channel ? (['ipc'] as const) : [])],
      ...(env === undefined ? {} : { env }),
    });
    const keep = (text: Buffer): void => {
      this.#output = (this.#output + text.toString()).slice(-maxOutputChars);
    };
    this.#process.stdout?.on('data', keep);
    this.#process.stderr?.on('data', keep);
    this.#exited = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#ended ??= how;
        resolve(how);
      };
      this.#process.once('exit', (code, signal) => end(`ended with ${signal ?? `code ${String(code)}`}`));
      this.#process.once('error', (error) => end(`could not be started: ${error.message}`));
    });
  }

  /** The operating system's id; throws if the process could not be started. */
  get pid(): number {
    if (this.#process.pid === undefined)
      throw new Error(this.#failure(this.#ended ?? 'could not be started'));
    return this.#process.pid;
  }

  /** The end of what it wrote, to either stream. */
  get output(): string {
    return this.#output;
  }

  /** Why it is over, or undefined while it runs. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Sends a message, if one is given, and resolves with the next one that comes back. */
  ask<T>(message?: object): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const onMessage = (answer: unknown): void => {
        const { failed } = answer as { failed?: string };
        if (failed === undefined) resolve(answer as T);
        else reject(new Error(`${this.name}: ${failed}\n${this.#output}`));
      };
      this.#process.once('message', onMessage);
      // After an answer this rejects a promise that is settled, which does nothing.
      void this.#exited.then((how) => {
        this.#process.off('message', onMessage);
        reject(new Error(this.#failure(how)));
      });
      // A message that cannot be sent has a process that ended, which is told above.
      if (message !== undefined) this.#process.send(message, () => undefined);
    });
  }

  /** Ends the process, gracefully if it lets itself be ended by `signal`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#process.kill(signal);
    const killing = setTimeout(() => this.#process.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(killing);
  }

  #failure(how: string): string {
    return `${this.name} ${how}:\n${this.#output}`;
  }
}
