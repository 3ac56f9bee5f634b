// Where the SDK's lines go: to the application's log function, else to stderr. Asked once for each client and server (settings.ts). Remembers for each of
// these places what is to be said only once there, however many clients and servers a process has.
import { errorText } from '../base/errors.js';
import { shownJson, shownText } from '../base/shown.js';
import { LineBound } from '../observe/line-bound.js';
import type { Log, LogLevel } from './types.js';

/** See the file's head. */
export interface LogPlace {
  readonly log: Log;
  /** Whether `text` is news there, which it is the first time. */
  isNews(text: string): boolean;
}

/** What is remembered for one place at most; what comes then is always news. */
const maxRemembered = 256;

const byStderr: { place?: LogPlace; everything?: boolean } = {};
const byFunction = new WeakMap<Log, LogPlace>();

/** The place of a log option. Without one: warnings to stderr, and everything if `RINGSIDE_LOG` is set. */
export function logPlace(given: Log | undefined, env: NodeJS.ProcessEnv): LogPlace {
  if (given === undefined) return stderrPlace(Boolean(env['RINGSIDE_LOG']));
  let place = byFunction.get(given);
  if (place === undefined) byFunction.set(given, (place = placeOf(unfailing(given))));
  return place;
}

function placeOf(log: Log): LogPlace {
  const told = new Set<string>();
  const isNews = (text: string): boolean => {
    if (told.has(text)) return false;
    if (told.size < maxRemembered) told.add(text);
    return true;
  };
  return { log, isNews };
}

function stderrPlace(everything: boolean): LogPlace {
  if (byStderr.place === undefined || byStderr.everything !== everything) {
    byStderr.place = placeOf(stderrLog(everything));
    byStderr.everything = everything;
  }
  return byStderr.place;
}

function stderrLog(everything: boolean): Log {
  const say = (level: LogLevel, message: string, fields: Record<string, unknown>): void => {
    process.stderr.write(`ringside ${level}: ${shownText(message)} ${shownJson(JSON.stringify(fields))}\n`);
  };
  const bound = new LineBound((level, leftOut) =>
    say('warn', `${leftOut} more lines of level ${level} were left out`, {}),
  );
  return (level, message, fields) => {
    if (!everything && level !== 'warn' && level !== 'error') return;
    if (bound.admit(level)) say(level, message, fields);
  };
}

/** An application's log function that throws must not stop what is being logged about. */
function unfailing(log: Log): Log {
  return (level, message, fields) => {
    try {
      log(level, message, fields);
    } catch (error) {
      process.stderr.write(`ringside error: the log function failed: ${errorText(error)}\n`);
    }
  };
}
