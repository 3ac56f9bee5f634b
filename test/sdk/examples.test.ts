// Runs the examples that need no agent against the built package, as a reader would. Skipped where it is not built.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

async function run(example: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [`${root}examples/${example}`], {
    timeout: 20_000,
  });
  return stdout.trimEnd().split('\n');
}

describe.skipIf(!existsSync(`${root}dist/index.js`))('examples', () => {
  test('without-an-agent', async () => {
    expect(await run('without-an-agent.mjs')).toEqual([
      'hello Ada, from example',
      'refuse: PERMISSION_DENIED, may have run: true',
      'sleep: DEADLINE_EXCEEDED, may have run: true',
      'unheard-of: UNIMPLEMENTED, may have run: false',
      'noted: nobody answers this',
    ]);
  });

  test('typed-users', async () => {
    expect(await run('typed-users.mjs')).toEqual(['user 7']);
  });
});
