// docs/api is what typedoc makes of the public API's comments (`npm run docs:api`).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

function pages(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );
}

it('docs/api is up to date (npm run docs:api writes it)', { timeout: 240_000 }, () => {
  const out = mkdtempSync(join(tmpdir(), 'ringside-api-'));
  try {
    const args = [
      join(root, 'node_modules/typedoc/bin/typedoc'),
      '--options',
      'docs/typedoc.json',
      '--out',
      out,
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    expect({ status, stdout, stderr }).toMatchObject({ status: 0 });
    expect(stdout + stderr).not.toContain('[warning]');
    const made = pages(out);
    expect(Object.keys(made)).toContain('README.md');
    expect(pages(join(root, 'docs/api'))).toEqual(made);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
