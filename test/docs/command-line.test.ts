// docs/command-line.md shows the table of exit codes, and commands end with no other: ExitError takes only those (src/cli/exit-codes.ts).
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeExitCodes, exitCodes } from '../../src/cli/exit-codes.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const document = join(root, 'docs/command-line.md');
const begin = '<!-- exit codes begin: written from src/cli/exit-codes.ts -->\n';
const end = '<!-- exit codes end -->';

it('docs/command-line.md shows the exit codes (UPDATE_DOCS=1 writes it)', () => {
  const text = readFileSync(document, 'utf8');
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end);
  expect(from).toBeGreaterThan(begin.length);
  expect(to).toBeGreaterThan(from - 1);
  const shown = `\n${describeExitCodes()}\n`;
  if (process.env['UPDATE_DOCS']) writeFileSync(document, text.slice(0, from) + shown + text.slice(to));
  else expect(text.slice(from, to)).toBe(shown);
});

it('no command ends with another code', () => {
  const folder = join(root, 'src/cli');
  const known = Object.keys(exitCodes);
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const source = readFileSync(join(folder, file), 'utf8');
    for (const [, code] of source.matchAll(/process\.exit\((\d+)\)/g)) expect(known, file).toContain(code);
  }
});
