import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { parseTargets } from '../../src/rollout/targets.js';

const directory = mkdtempSync(join(tmpdir(), 'ringside-targets-'));
afterAll(() => rmSync(directory, { recursive: true }));
const parse = (text: string) => parseTargets(text, 'hosts.yaml', directory);

it('gives each target its address, its own token first', () => {
  writeFileSync(join(directory, 'token'), 'from-a-file\n');
  expect(
    parse(`
token: for-all
targets:
  - {name: a, url: "http://10.0.0.1:1"}
  - {url: "http://10.0.0.2:1", token: its-own}
  - {name: c, url: "http://10.0.0.3:1", tokenFile: token}
  - {socket: d.sock}`),
  ).toEqual([
    { name: 'a', address: { url: 'http://10.0.0.1:1', token: 'for-all' } },
    { name: 'http://10.0.0.2:1', address: { url: 'http://10.0.0.2:1', token: 'its-own' } },
    { name: 'c', address: { url: 'http://10.0.0.3:1', token: 'from-a-file' } },
    { name: 'd.sock', address: { socket: join(directory, 'd.sock') } },
  ]);
});

it('understands the example in docs/ops.md', () => {
  const text = readFileSync(new URL('../../docs/ops.md', import.meta.url), 'utf8');
  const example = /```yml\n([^`]*)```/.exec(text)?.[1] ?? '';
  expect(parse(example).map(({ name }) => name)).toEqual(['pod-1', 'here']);
});

it.each([
  ['targets: []', 'targets (line 1, column 10)'],
  ['targets:\n  - {name: a}', 'targets.0 (line 2, column 5): allowed: either url or socket'],
  ['targets:\n  - {socket: a, url: "http://x/"}', 'targets.0 (line 2, column 5): allowed: either'],
  ['targets: [{url: "http://x/"}]', 'found a url without a token'],
  ['targets: [{socket: a}, {socket: a}]', 'targets.1 (line 1, column 24): comes twice: a'],
  ['targets: [{scoket: a}]', 'targets.0.scoket (line 1, column 12): unknown field; did you mean "socket"?'],
  [
    'targets: [{socket: a, token: "no blanks"}]',
    'targets.0.token (line 1, column 30): found text that is not shown',
  ],
  ['tokenFile: nowhere\ntargets: [{socket: a}]', 'tokenFile (line 1, column 12): nowhere cannot be used'],
])('%s', (text, said) => {
  expect(() => parse(text)).toThrow(said);
});
