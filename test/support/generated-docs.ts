// Parts of the documentation that are written from code: between two markers of a page stands what the code says, and a test compares.
// UPDATE_DOCS=1 writes it instead.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** Compares what stands in `page` behind `<!-- NAME begin... -->` with `text`, or writes it. */
export function expectInDocs(page: string, name: string, text: string): void {
  const path = fileURLToPath(new URL(`../../${page}`, import.meta.url));
  const whole = readFileSync(path, 'utf8');
  const found = new RegExp(`(<!-- ${name} begin[^\n]*-->\n)([^]*?)(<!-- ${name} end -->)`).exec(whole);
  if (found === null) throw new Error(`${page} has no part "${name}"`);
  if (process.env['UPDATE_DOCS'])
    writeFileSync(
      path,
      whole.replace(found[0], () => `${found[1]}${text}${found[3]}`),
    );
  else expect(found[2]).toBe(text);
}

/** A Markdown table. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
