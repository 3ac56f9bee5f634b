// The native JSON reader against JSON.parse: it accepts exactly what JSON.parse accepts (up to its bound on nesting), and reads out of a
// request of the legacy protocol what JSON.parse would.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nativeCodec } from '../../src/native/codec.js';

const codec = nativeCodec();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parsed(bytes: Uint8Array): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(utf8.decode(bytes)) };
  } catch {
    return undefined;
  }
}

/** As Node encodes strings: half a surrogate pair becomes U+FFFD. */
const encoded = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');

/** Any JSON text: with white space, escapes (needless ones and half surrogates too), odd numbers, duplicate keys. */
const space = fc.constantFrom('', '', '', ' ', '\n', '\t\r ');
const character = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 6 }).map((text) => JSON.stringify(text).slice(1, -1)),
  fc.constantFrom(
    '\\/',
    '\\u0061',
    '\\ud83d\\ude00',
    '\\ud83d',
    '\\ude00',
    '\\uD83D\\n',
    '\\b',
    '"',
    '\\',
    '\n',
    '\\x',
  ),
);
const text = fc.array(character, { maxLength: 4 }).map((parts) => `"${parts.join('')}"`);
const number = fc.oneof(
  fc.double().map(String),
  fc.constantFrom(
    '0',
    '-0',
    '1e5',
    '1E+5',
    '1.5e-3',
    '12345678901234567890',
    '01',
    '1.',
    '.5',
    '+1',
    '-',
    '0x1',
    'NaN',
  ),
);
const { value: json } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.constantFrom('true', 'false', 'null', 'nul', ''),
    number,
    text,
    tie('array'),
    tie('object'),
  ),
  array: fc
    .tuple(space, fc.array(tie('value'), { maxLength: 3 }), fc.constantFrom(',', ',', ',', ' , '))
    .map(([s, items, comma]) => `[${s}${items.join(comma)}${s}]`),
  object: fc
    .tuple(space, fc.array(fc.tuple(text, tie('value')), { maxLength: 3 }))
    .map(([s, members]) => `{${s}${members.map(([k, v]) => `${k}${s}:${s}${v}`).join(',')}${s}}`),
}));
const damaged = fc
  .tuple(json, fc.nat(), fc.constantFrom('', '', '', '', '}', ']', ',', '"', '\ufeff', '\\', '{', '\u0000'))
  .map(([value, at, extra]) => {
    const where = value.length === 0 ? 0 : at % value.length;
    return value.slice(0, where) + extra + value.slice(where);
  });

describe('the native JSON reader', () => {
  it('accepts what JSON.parse accepts', { timeout: 120_000 }, () => {
    let good = 0;
    let bad = 0;
    fc.assert(
      fc.property(damaged, (input) => {
        const bytes = Buffer.from(input, 'utf8');
        const expected = parsed(bytes) !== undefined;
        expect(codec.isJson(bytes)).toBe(expected);
        if (expected) good += 1;
        else bad += 1;
      }),
      { numRuns: 20_000 },
    );
    expect(good).toBeGreaterThan(2_000);
    expect(bad).toBeGreaterThan(2_000);
  });

  it('agrees on every byte in every place of a text', () => {
    const valid = Buffer.from('{"a\\u00e9é":[-1.5e+7,true,{"b":null}],"":"\\ud83d\\ude00"}', 'utf8');
    for (let at = 0; at < valid.length; at += 1) {
      for (let value = 0; value < 256; value += 1) {
        const bytes = Buffer.from(valid);
        bytes[at] = value;
        expect(codec.isJson(bytes), `byte ${at} = ${value}`).toBe(parsed(bytes) !== undefined);
      }
    }
  });

  it('agrees on huge strings and on nesting up to its bound', () => {
    const huge = Buffer.from(JSON.stringify(`${'x'.repeat(3_000_000)}"\n😀`), 'utf8');
    expect(codec.isJson(huge)).toBe(true);
    expect(codec.isJson(huge.subarray(0, -1))).toBe(false);
    for (const [depth, accepted] of [
      [512, true],
      [513, false],
      [1_000_000, false],
    ] as const) {
      expect(codec.isJson(Buffer.from('['.repeat(depth) + ']'.repeat(depth)))).toBe(accepted);
      expect(codec.isJson(Buffer.from('{"a":'.repeat(depth) + '1' + '}'.repeat(depth)))).toBe(accepted);
    }
  });

  it('reads requests as JSON.parse does', { timeout: 120_000 }, () => {
    const key = fc.constantFrom(
      'action',
      'params',
      'props',
      'm',
      'args',
      '\\u0061ction',
      'param\\u0073',
      '__proto__',
      'x',
    );
    const name = fc.constantFrom('"/service/x"', '"get"', '"\\ud83d\\ude00"', '"\\ud83d"', '""', 'null', '1');
    const member = (value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
      fc.tuple(key, value, space).map(([k, v, s]) => `"${k}"${s}:${s}${v}`);
    const params = fc
      .array(member(fc.oneof(name, fc.constantFrom('[]', '[1, "a"]', '{}'), json)), { maxLength: 4 })
      .map((members) => `{${members.join(',')}}`);
    const request = fc
      .tuple(
        fc.array(member(fc.oneof(name, params, params, json)), { maxLength: 5 }),
        fc.constantFrom('', '"action":"/service/y","params":{"m":"z"}'),
        fc.boolean(),
      )
      .map(([members, basis, first]) => {
        const all = basis === '' ? members : first ? [basis, ...members] : [...members, basis];
        return `{${all.join(',')}}`;
      });
    let accepted = 0;
    fc.assert(
      fc.property(request, (input) => {
        const bytes = Buffer.from(input, 'utf8');
        const got = codec.readLegacyRequest(bytes);
        const expected = expectedOf(parsed(bytes)?.value);
        if (typeof expected === 'number') {
          expect(got).toEqual({ problem: expected });
          return;
        }
        accepted += 1;
        if ('problem' in got) throw new Error(`refused with ${got.problem}`);
        expect(got.action).toBe(encoded(expected.action));
        expect(got.method).toBe(encoded(expected.method));
        expect(JSON.parse(got.args)).toEqual(expected.args);
        expect(got.props === '' ? {} : JSON.parse(got.props)).toEqual(expected.props);
      }),
      { numRuns: 10_000 },
    );
    expect(accepted).toBeGreaterThan(1_000);
  });
});

interface Request {
  action: string;
  method: string;
  args: unknown;
  props: unknown;
}

/** What must come of a request: its parts, or the code it is refused with. */
function expectedOf(value: unknown): Request | number {
  if (!isRecord(value)) return 302;
  const own = (record: Record<string, unknown>, name: string): unknown =>
    Object.hasOwn(record, name) ? (record[name] ?? undefined) : undefined;
  const action = own(value, 'action');
  if (action === undefined) return 401;
  if (typeof action !== 'string' || action === '') return 402;
  const params = own(value, 'params');
  const method = isRecord(params) ? own(params, 'm') : undefined;
  if (typeof method !== 'string' || method === '') return 502;
  const args = isRecord(params) ? (own(params, 'args') ?? []) : [];
  if (!Array.isArray(args)) return 302;
  const props = own(value, 'props') ?? {};
  return isRecord(props) ? { action, method, args, props } : 302;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
