// A line of the log for people: time, level, name and message, then the fields. Made from the JSON that the logger writes otherwise, so both say the same.
import { shownJson, shownText } from '../base/shown.js';

/** What stands at the line's begin, or says nothing to people. */
const shownElsewhere = ['level', 'time', 'name', 'pid', 'hostname', 'msg'];

/** @param json one line of the log, as createLogger() makes it */
export function prettyLine(json: string): string {
  const line = JSON.parse(json) as Record<string, unknown>;
  const text = (key: string): string => shownText(typeof line[key] === 'string' ? line[key] : '');
  const fields = Object.entries(line)
    .filter(([key]) => !shownElsewhere.includes(key))
    .map(([key, value]) => ` ${shownText(key)}=${fieldText(value)}`);
  const level = text('level').toUpperCase().padEnd(5);
  return `${text('time')} ${level} ${text('name')}: ${text('msg')}${fields.length > 0 ? ` ${fields.join('')}` : ''}\n`;
}

/** Texts without spaces stand bare. */
function fieldText(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=]+$/.test(value)) return shownText(value);
  return shownJson(JSON.stringify(value) ?? 'undefined');
}
