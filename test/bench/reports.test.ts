// What is made of result files: the README's comparison between its markers, the page with plots, and the lines of native programs.
import { describe, expect, it } from 'vitest';
import { figuresOf } from '../../bench/measure/figures.js';
import { rounded } from '../../bench/measure/result.js';
import type { ScenarioResult } from '../../bench/measure/result.js';
import { readCosts } from '../../bench/micro/native-costs.js';
import { comparison, withComparison } from '../../bench/report/comparison.js';
import { htmlReport } from '../../bench/report/html.js';
import { resultText } from '../../bench/report/table.js';
import { turn } from './turns.js';

function result(latenciesUs: Record<string, number>, more: Partial<ScenarioResult> = {}): ScenarioResult {
  const turns = Object.entries(latenciesUs).map(([path, us]) => turn(path, [us, us, us]));
  return rounded({
    schema: 1,
    scenario: 'standard',
    description: 'some load',
    date: '2020-01-02T03:04:05.000Z',
    command: 'npm run bench',
    machine: {
      cpu: 'A <fast> one',
      cores: 2,
      memoryGb: 8,
      kernel: '6',
      virtual: true,
      loadAverage: 0,
      versions: { node: 'v1' },
    },
    keepAwake: false,
    rounds: 1,
    secondsPerTurn: 1,
    load: { pace: { ratePerSecond: 1000 }, bodyBytes: 1024 },
    paths: figuresOf([turns], { bodyBytes: 1024 }),
    absent: { mosn: 'not here' },
    problems: [],
    bars: [{ text: 'a bar', value: 0.4, limit: 0.5, met: true, stretch: 0.3, stretchMet: false }],
    ...more,
  } satisfies ScenarioResult);
}

const standard = result({ direct: 100, shm: 130, haproxy: 180 });

describe('the comparison', () => {
  it('replaces what stands between the markers, and only that', () => {
    const once = withComparison('a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nz\n', { standard });
    expect(once).toMatch(/^a\n<!-- bench:begin -->\n\| path /);
    expect(once).toMatch(/\n<!-- bench:end -->\nz\n$/);
    expect(once).not.toContain('old');
    expect(withComparison(once, { standard })).toBe(once);
  });

  it.each([
    'nothing',
    '<!-- bench:end --> <!-- bench:begin -->',
    '<!-- bench:begin --> <!-- bench:begin --> <!-- bench:end -->',
  ])('needs its markers: %s', (text) =>
    expect(() => withComparison(text, { standard })).toThrow('bench:begin'),
  );

  it('shows paths in their order, with what other scenarios say', () => {
    const serial = result({ direct: 40, shm: 60 });
    const lines = comparison({ standard, serial }).split('\n');
    expect(lines[0]).toBe('| path | p50 | p99 | adds | adds, back to back | CPU per request |');
    expect(lines.slice(2, 5).map((line) => line.split('`')[1])).toEqual(['direct', 'haproxy', 'shm']);
    expect(lines[4]).toContain('| 30.0 µs | 20.0 µs | 40.0 µs |');
    expect(lines[3]).toContain('| 80.0 µs |  | 40.0 µs |');
  });

  it('says what is absent and refuses results that are not to be trusted', () => {
    expect(comparison({ standard })).toContain('`mosn` is absent: not here.');
    expect(() => comparison({ standard, serial: result({}, { problems: ['errors'] }) })).toThrow(
      'serial.json',
    );
    expect(() => comparison({})).toThrow('standard.json');
    expect(comparison({ standard, soak: result({}, { problems: ['errors'] }) })).toBe(
      comparison({ standard }),
    );
  });
});

describe('the page', () => {
  it('shows every path and escapes what comes from the file', () => {
    const page = htmlReport([standard]);
    for (const path of ['haproxy', 'shm']) expect(page).toContain(`>${path}</text>`);
    expect(page).toContain('>direct</td>');
    expect(page).toContain('A &lt;fast&gt; one');
    expect(page).not.toContain('<fast>');
    expect(page).not.toMatch(/NaN|Infinity|undefined|<script/);
  });
});

describe('the text', () => {
  it('shouts when a run is not to be trusted', () => {
    expect(resultText(standard)).not.toContain('NOT TO BE TRUSTED');
    expect(resultText({ ...standard, problems: ['shm: slow'] })).toContain('NOT TO BE TRUSTED: shm: slow');
    expect(resultText(standard)).toContain('met      a bar: 0.40 (limit 0.5, aim 0.3 not reached)');
  });
});

describe('lines of native programs', () => {
  it('are names and nanoseconds', () => {
    const output =
      'flow lookup, 100000 flows     123.4 ns  (checksum 5)\nbuilding...\nring record  8 ns\nno figure ns\n';
    expect(readCosts(output)).toEqual({ 'flow lookup, 100000 flows': 123.4, 'ring record': 8 });
  });
});
