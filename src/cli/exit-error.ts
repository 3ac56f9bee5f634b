// How a command ends with a code of its own (exit-codes.ts). Thrown by commands, turned into the process's exit code by main.ts only, so that
// output is flushed first.
import type { ExitCode } from './exit-codes.js';

/** An empty message: everything was said already. */
export class ExitError extends Error {
  constructor(
    message: string,
    readonly exitCode: ExitCode,
  ) {
    super(message);
  }
}
