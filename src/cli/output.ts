// What commands write. All of them write through here, so that text of others is escaped and a reader that goes away (`ringside status | head -1`)
// is nobody's failure: output goes nowhere from then on, commands that only show something end, those that do something go on, and the exit code
// is the one of what they did. An output that cannot be written for another reason, such as a full disk, is a failure.
import { shownJson, shownLines } from '../base/shown.js';

const readerGone = new AbortController();
let problem: NodeJS.ErrnoException | undefined;

/** Aborted once nobody reads standard output any more, or it cannot be written. */
export const outputEnded: AbortSignal = readerGone.signal;

/** Begins to look after standard output and standard error; once, before anything is written. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') problem ??= error;
    readerGone.abort();
  });
  // There is nobody left to tell.
  process.stderr.on('error', () => undefined);
}

/** Why standard output could not be written; undefined where it could, or where only its reader went away. */
export function outputProblem(): Error | undefined {
  return problem;
}

/** Writes lines for people; what a terminal would obey is escaped. */
export function print(text: string): void {
  write(`${shownLines(text)}\n`);
}

/** Writes a value as one line of JSON. */
export function printJson(value: unknown): void {
  write(`${shownJson(JSON.stringify(value))}\n`);
}

/** Writes lines in the place of all that the terminal shows. */
export function redraw(text: string): void {
  write(`${clearScreen}${shownLines(text)}\n`);
}

/** Leaves an empty terminal. */
export function clear(): void {
  write(clearScreen);
}

/** Writes bytes as they are. */
export function write(bytes: string | Uint8Array): void {
  if (!outputEnded.aborted) process.stdout.write(bytes);
}

/** Resolves when what was written has left, or never will. */
export function flushed(): Promise<void> {
  return new Promise((resolve) => process.stdout.write('', () => resolve()));
}

/** Writes a line beside the output: what went wrong, how far it is. */
export function tell(text: string): void {
  process.stderr.write(`${shownLines(text)}\n`);
}

const clearScreen = '\u001b[2J\u001b[H';
