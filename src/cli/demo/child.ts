// A process of the demo: this command started again with another subcommand, asked and answered over Node's channel. What it
// writes is kept, so that a failure can show why; it never outlives the demo.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const maxOutputChars = 16_384;
const stopTimeoutMs = 5_000;

/** See the file's head. */
export class DemoChild {
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  #output = '';

  constructor(
    readonly name: string,
    args: readonly string[],
  ) {
    const main = fileURLToPath(new URL('../main.js', import.meta.url));
    this.#process = fork(main, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const keep = (text: Buffer): void => {
      this.#output = (this.#output + text.toString()).slice(-maxOutputChars);
    };
    this.#process.stdout?.on('data', keep);
    this.#process.stderr?.on('data', keep);
    this.#exited = new Promise((resolve) => this.#process.once('exit', () => resolve()));
  }

  /** Sends a message, if one is given, and resolves with the next one that comes back. */
  ask<T>(message?: object): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const onMessage = (answer: unknown): void => {
        this.#process.off('exit', onExit);
        const { failed } = answer as { failed?: string };
        if (failed === undefined) resolve(answer as T);
        else reject(new Error(`${this.name}: ${failed}\n${this.#output}`));
      };
      const onExit = (code: number | null): void => {
        this.#process.off('message', onMessage);
        reject(new Error(`${this.name} ended early with code ${String(code)}:\n${this.#output}`));
      };
      this.#process.once('message', onMessage);
      this.#process.once('exit', onExit);
      if (message !== undefined) this.#process.send(message);
    });
  }

  /** Ends the process, gracefully if it lets itself be ended. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGTERM');
    const killing = setTimeout(() => this.#process.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(killing);
  }
}
