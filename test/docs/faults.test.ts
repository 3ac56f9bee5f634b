// docs/faults.md says what the table of faults says, and the table names nothing that is not there: its tests, its lines of the log, its
// counters, its statuses.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Status } from '../../src/base/status.js';
import { describeFaults, faultGroups } from '../support/faults.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const document = join(root, 'docs/faults.md');
const begin = '<!-- faults begin: written from test/support/faults.ts -->\n';
const end = '<!-- faults end -->';
const faults = faultGroups.flatMap((group) => group.faults);

function sources(folder: string): string {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'))
    .join('\n');
}

it('docs/faults.md shows the table (UPDATE_DOCS=1 writes it)', () => {
  const text = readFileSync(document, 'utf8');
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end);
  expect(from).toBeGreaterThan(begin.length);
  expect(to).toBeGreaterThan(from - 1);
  if (process.env['UPDATE_DOCS'])
    writeFileSync(document, text.slice(0, from) + describeFaults() + text.slice(to));
  else expect(text.slice(from, to)).toBe(describeFaults());
});

describe.each(faults.map((fault) => [fault.fault, fault] as const))('%s', (_name, fault) => {
  it('has its test', () => {
    expect(readFileSync(join(root, fault.test.file), 'utf8')).toContain(fault.test.title);
  });
  it('names lines and counters that are written', () => {
    const agent = sources('src/agent');
    const report = readFileSync(join(root, 'native/engine/report.cc'), 'utf8');
    for (const line of fault.log) expect(agent).toContain(line);
    for (const counter of fault.counters) expect(report).toContain(`{"${counter}", `);
  });
  it('names statuses that exist', () => {
    for (const [word] of fault.caller.matchAll(/[A-Z]{4,}_?[A-Z_]+/g))
      expect(Object.keys(Status)).toContain(word);
  });
});
