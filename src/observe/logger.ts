/**
 * The agent's log: one JSON object a line on standard output, with the time in ISO 8601 and nothing secret in it.
 * Made once by the command line and handed down. Writing never blocks the process on a reader that is slow; when too
 * much waits, lines are dropped.
 */
import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import { LogOutput } from './log-output.js';

export type { Logger } from 'pino';

/** Bytes that may wait to be written. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
const SECRET_KEYS = ['token', 'authorization', 'password', 'secret'];
/** Secrets are found down to this many levels below what is logged. */
const SECRET_DEPTH = 4;

/** See the file's head. */
export interface LoggerOptions {
  level: string;
  /** What the lines are marked with as `name`. */
  name: string;
  /** Where the lines go. Default: standard output. */
  destination?: DestinationStream;
}

/** Makes a logger; its `level` may be changed while it is used. */
export function createLogger({ level, name, destination }: LoggerOptions): Logger {
  const paths = SECRET_KEYS.flatMap((key) =>
    Array.from({ length: SECRET_DEPTH + 1 }, (_, depth) => `${'*.'.repeat(depth)}${key}`),
  );
  return pino(
    { level, name, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths, censor: '(redacted)' } },
    destination ?? new LogOutput(1, MAX_WAITING_BYTES),
  );
}
