// What the operating system asks of a command that runs until it is told to end. Made by main.ts before anything else of that command, since a signal
// without a handler ends a process at once; what comes before the command is ready for it is kept. What must stay true: no handler is ever taken away, so
// nothing that comes late ends the process, either.
import { onNpmEnd } from './npm-parent.js';
import type { NpmParents } from './npm-parent.js';

/** Why a process is to end. */
export type StopReason = NodeJS.Signals | 'the end of npm';

/** See the file's head. */
export class ProcessSignals {
  /** Resolves when this process is to end: SIGTERM, SIGINT, or the end of the npm that started it. */
  readonly stop: Promise<StopReason>;
  #stopping = false;
  #hungUp = false;
  #onHangUp: ((signal: NodeJS.Signals) => void) | undefined;
  #onStopAgain: (signal: NodeJS.Signals) => void = () => process.exit(1);

  /** @param npmParents the processes by which npm started this one, if it did */
  constructor(npmParents: NpmParents | undefined) {
    this.stop = new Promise((resolve) => {
      const asked = (signal: NodeJS.Signals): void => {
        if (this.#stopping) return this.#onStopAgain(signal);
        this.#stopping = true;
        resolve(signal);
      };
      process.on('SIGTERM', asked).on('SIGINT', asked);
      if (npmParents === undefined) return;
      // A Ctrl-C reaches npm too: its end is no second request.
      onNpmEnd(npmParents, () => {
        this.#stopping = true;
        resolve('the end of npm');
      });
    });
    process.on('SIGHUP', (signal) => {
      if (this.#onHangUp === undefined) this.#hungUp = true;
      else this.#onHangUp(signal);
    });
    // They ask nothing of us. Left alone, the first opens Node's inspector, the second ends the process.
    process.on('SIGUSR1', () => undefined).on('SIGUSR2', () => undefined);
  }

  /** Whether this process is to end. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** From now on SIGHUP does this, also at once if one came before. */
  onHangUp(listener: (signal: NodeJS.Signals) => void): void {
    this.#onHangUp = listener;
    if (!this.#hungUp) return;
    this.#hungUp = false;
    listener('SIGHUP');
  }

  /** For a command that has nothing to read again: resolves at SIGHUP, too, which a terminal sends that is closed. */
  async stopOrHangUp(): Promise<void> {
    await Promise.race([this.stop, new Promise((resolve) => this.onHangUp(resolve))]);
  }

  /** What a SIGTERM or SIGINT after the first request does from now on; before, it ends the process with 1. */
  onStopAgain(listener: (signal: NodeJS.Signals) => void): void {
    this.#onStopAgain = listener;
  }
}
