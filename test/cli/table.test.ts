import { describe, expect, it } from 'vitest';
import { tableOf } from '../../src/cli/table.js';

describe('a table', () => {
  it('aligns columns, numbers to the right, and ends no line with spaces', () => {
    const rows = [
      ['outbound', 'a', 7],
      ['in', 'longer', 1_000],
    ];
    expect(tableOf(['direction', 'service', 'requests'], rows)).toBe(
      ['direction  service  requests', 'outbound   a               7', 'in         longer       1000'].join(
        '\n',
      ),
    );
    expect(tableOf(['a', 'b'], [['x', '']])).toBe('a  b\nx');
  });

  it('counts columns as a terminal does', () => {
    expect(tableOf(['name', 'x'], [['東京', 'y']])).toBe('name  x\n東京  y');
  });

  it('escapes every cell', () => {
    const evil = 'a\u001b[2J\nb\u202e';
    expect(tableOf(['name'], [[evil]])).toBe('name\na\\u001b[2J\\nb\\u202e');
  });

  it('of thousands of rows is there in no time that grows with their square', () => {
    const rows = (count: number) => Array.from({ length: count }, (_, i) => [`service-${i}`, 'ready', i]);
    expect(tableOf(['service', 'state', 'requests'], rows(50_000)).split('\n')).toHaveLength(50_001);
  });
});
