// How a command ends with a code of its own: 1 it failed, 2 it was asked for something that cannot be (arguments, configuration). Thrown by
// commands, turned into the process's exit code by main.ts only, so that output is flushed first.

/** An empty message: everything was said already. */
export class ExitError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}
