// Applications that esbuild has put into one file, in a project of their own: no addon and no package.json of ours lies beside them. They run in
// processes of their own, against an agent that is scripted.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeAgent } from '../support/fake-mesh-agent.js';

const entry = fileURLToPath(new URL('../support/apps/bundled.ts', import.meta.url));
const run = promisify(execFile);
let folder: string;
let agent: FakeAgent;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-bundled-'));
  agent = await FakeAgent.start({ unix: true });
  agent.onRequest = (link, request) => link.reply(request, { body: request.body });
});
afterAll(async () => {
  await agent.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function bundle(format: 'esm' | 'cjs', directory: string): Promise<string> {
  const outfile = join(directory, format === 'esm' ? 'app.mjs' : 'app.cjs');
  await build({
    ...{ entryPoints: [entry], outfile, format, bundle: true, platform: 'node', target: 'node20' },
    // Of CommonJS, that it has no import.meta.
    logLevel: 'error',
  });
  return outfile;
}

const sdks = (): (string | undefined)[] => agent.links.map(({ header }) => header?.attachments?.['sdk']);

describe.each(['esm', 'cjs'] as const)('an application in one file (%s)', (format) => {
  test.each([
    ['with nothing beside it', false],
    ["where its own project's package.json lies where ours would be", true],
  ])('starts %s, and says once what it has lost', async (_where, hasProject) => {
    const project = mkdtempSync(join(folder, 'project-'));
    const directory = join(project, 'out', 'server');
    mkdirSync(directory, { recursive: true });
    if (hasProject) writeFileSync(join(project, 'package.json'), '{ "name": "shop", "version": "9.9.9" }');
    const before = agent.links.length;
    const { stdout, stderr } = await run(process.execPath, [await bundle(format, directory)], {
      cwd: directory,
      env: { ...process.env, RINGSIDE_AGENT: agent.path, RINGSIDE_ADDON: '' },
    });
    expect(JSON.parse(stdout)).toEqual({ transport: 'unix', body: 'hi' });
    expect(stderr.match(/this application is bundled/g)).toHaveLength(1);
    expect(stderr).toMatch(
      /ringside warn: transport unix: .* shared memory needs \(a socket is used instead\)/,
    );
    expect(stderr).toContain('--external:@ringside/mesh');
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(new Set(sdks().slice(before))).toEqual(new Set(['ringside-node/unknown']));
  });
});
