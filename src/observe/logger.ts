/**
 * The agent's log: one JSON object a line on standard output, with the level's name, the time in ISO 8601 and nothing secret in it; or the same for
 * people. Made once by the command line and handed down. Writing never blocks the process on a reader that is slow; when too
 * much waits, lines are dropped. Names that others chose reach no terminal as they came (src/base/shown.ts).
 */
import { isatty } from 'node:tty';
import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import { shownJson } from '../base/shown.js';
import type { LogFormat } from './log-formats.js';
import { LogOutput } from './log-output.js';
import { prettyLine } from './pretty-line.js';

export type { Logger } from 'pino';
export type { LogFormat } from './log-formats.js';

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
  /** Default: `pretty` where standard output is a terminal, else `json`. */
  format?: LogFormat | undefined;
  /** Where the lines go. Default: standard output. */
  destination?: DestinationStream;
}

/** Makes a logger; its `level` may be changed while it is used. */
export function createLogger(options: LoggerOptions): Logger {
  const { level, name, format = isatty(1) ? 'pretty' : 'json' } = options;
  const { destination = new LogOutput(1, MAX_WAITING_BYTES) } = options;
  const paths = SECRET_KEYS.flatMap((key) =>
    Array.from({ length: SECRET_DEPTH + 1 }, (_, depth) => `${'*.'.repeat(depth)}${key}`),
  );
  const shown = format === 'pretty' ? prettyLine : shownJson;
  return pino(
    {
      ...{ level, name, timestamp: pino.stdTimeFunctions.isoTime },
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths, censor: '(redacted)' },
    },
    { write: (line) => destination.write(shown(line)) },
  );
}
