// docs/admin.md and docs/metrics.md say what the admin server has and what the agent counts, and nothing else.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { PATHS, buildAdminApp } from '../../src/admin/admin-server.js';
import { AgentMetrics } from '../../src/admin/metrics.js';
import { engineCounters } from '../../src/observe/engine-counters.js';
import { fakeAgent } from '../admin/fake-agent.js';
import { expectInDocs, table } from '../support/generated-docs.js';

interface Metric {
  name: string;
  type: string;
  help: string;
  labels: string[];
}

/** The metrics of an agent with one of everything, in the order of the exposition. */
async function metrics(): Promise<Metric[]> {
  const found = new Map<string, Metric>();
  let current: Metric | undefined;
  const counters = Object.fromEntries(Object.keys(engineCounters).map((name) => [name, 1]));
  const text = await new AgentMetrics(fakeAgent({ counters: () => Promise.resolve(counters) })).scrape();
  for (const line of text.split('\n')) {
    const [, kind, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP' && name !== undefined) {
      current = { name, type: '', help: rest ?? '', labels: [] };
      found.set(name, current);
    } else if (kind === 'TYPE' && current) {
      current.type = rest ?? '';
    } else if (current) {
      for (const [, label] of (/\{(.*)\}/.exec(line)?.[1] ?? '').matchAll(/([a-z_]+)="/g)) {
        if (label !== undefined && label !== 'le' && !current.labels.includes(label))
          current.labels.push(label);
      }
    }
  }
  return [...found.values()];
}

it('docs/metrics.md shows the metrics (UPDATE_DOCS=1 writes it)', async () => {
  const all = await metrics();
  expect(all.filter(({ help, type }) => help === '' || type === '')).toEqual([]);
  const rows = all
    .filter(({ name }) => !name.startsWith('ringside_engine_'))
    .map(({ name, type, labels, help }) => [
      `\`${name}\``,
      type,
      labels.map((label) => `\`${label}\``).join(', '),
      help,
    ]);
  expectInDocs('docs/metrics.md', 'metrics', table(['metric', 'type', 'labels', 'meaning'], rows));
});

it('docs/metrics.md shows the counters of the engine (UPDATE_DOCS=1 writes it)', () => {
  const rows = Object.entries(engineCounters).map(([name, meaning]) => [`\`${name}\``, meaning]);
  expectInDocs('docs/metrics.md', 'counters', table(['counter', 'counts'], rows));
});

it('every counter that the engine reports is described, and no other', () => {
  const report = readFileSync(
    fileURLToPath(new URL('../../native/engine/report.cc', import.meta.url)),
    'utf8',
  );
  const reported = [...report.matchAll(/\{"([a-z_]+)", [a-z_.]+(?:\(\))?\},/g)].map(([, name]) => name);
  expect(reported.length).toBeGreaterThan(30);
  expect(Object.keys(engineCounters).sort()).toEqual(reported.sort());
});

it('docs/admin.md shows the paths of the admin server (UPDATE_DOCS=1 writes it)', async () => {
  const app = buildAdminApp(fakeAgent());
  try {
    for (const path of Object.keys(PATHS)) {
      expect((await app.inject({ path, headers: { host: 'localhost' } })).statusCode, path).toBe(200);
    }
    const routes = [...app.printRoutes({ commonPrefix: false }).matchAll(/─ ([a-z]+) \(GET/g)].map(
      ([, name]) => `/${name}`,
    );
    expect(routes.sort()).toEqual(Object.keys(PATHS).sort());
  } finally {
    await app.close();
  }
  const rows = Object.entries(PATHS).map(([path, says]) => [`\`GET ${path}\``, says]);
  expectInDocs('docs/admin.md', 'paths', table(['path', 'says'], rows));
});
