// Runs the TypeScript codec over every example of docs/wire-format.md, in both directions where the bytes are
// canonical, so that the page and the codec cannot drift apart.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { checkFixed, encodeFrame, frameLength, readFrame } from '../../src/protocol/frame.js';
import { decodeHeader, emptyHeader, encodeHeader } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';
import { MalformedHeader } from '../../src/protocol/wire.js';

interface ExpectedFrame {
  type: number;
  flags: number;
  status: number;
  attempt: number;
  requestId: string;
  timeoutMs: number;
  value: number;
  header: Partial<Header>;
  body: string;
}

const page = readFileSync(new URL('../../docs/wire-format.md', import.meta.url), 'utf8');

function blocks(language: string, kind: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const match of page.matchAll(/^```(\w+) ([\w-]+):([\w-]+)\n([^`]*)```$/gm)) {
    if (match[1] === language && match[2] === kind) found.set(match[3]!, match[4]!);
  }
  return found;
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replace(/\s+/g, ''), 'hex');
}

function plain(header: Header): object {
  return { ...header, attachments: header.attachments && { ...header.attachments } };
}

test('the page has the examples that it should have', () => {
  const names = [
    'hello',
    'welcome',
    'request',
    'response',
    'error-response',
    'cancel',
    'go-away',
    'go-away-ack',
    'request-more',
    'chunk',
    'last-chunk',
    'credit',
    'broken-off',
  ];
  expect([...blocks('hex', 'frame').keys()]).toEqual(expect.arrayContaining(names));
  expect([...blocks('json', 'frame').keys()]).toEqual([...blocks('hex', 'frame').keys()]);
  expect(blocks('hex', 'header').size).toBeGreaterThanOrEqual(5);
  expect(blocks('hex', 'malformed-header').size).toBeGreaterThanOrEqual(10);
});

describe('frames', () => {
  test.each([...blocks('hex', 'frame')])('%s', (name, hex) => {
    const expected = JSON.parse(blocks('json', 'frame').get(name)!) as ExpectedFrame;
    const bytes = bytesOf(hex);
    expect(checkFixed(bytes, 0)).toBeUndefined();
    expect(frameLength(bytes, 0)).toBe(bytes.length);
    const frame = readFrame(bytes, 0);
    const requestId = ((BigInt(frame.idHi) << 32n) | BigInt(frame.idLo)).toString();
    const { type, flags, status, attempt, timeoutMs, value } = frame;
    const header = { ...emptyHeader(), ...expected.header };
    expect({
      type,
      flags,
      status,
      attempt,
      requestId,
      timeoutMs,
      value,
      body: frame.body.toString(),
    }).toEqual({
      ...expected,
      header: undefined,
    });
    expect(plain(decodeHeader(frame.header))).toEqual(header);
    const id = BigInt(expected.requestId);
    const again = encodeFrame({
      ...expected,
      idLo: Number(id & 0xffffffffn),
      idHi: Number(id >> 32n),
      header: encodeHeader(expected.header),
      body: Buffer.from(expected.body),
    });
    expect(again.toString('hex')).toBe(bytes.toString('hex'));
  });
});

describe('headers', () => {
  test.each([...blocks('hex', 'header')])('%s is accepted', (name, hex) => {
    const expected = JSON.parse(blocks('json', 'header').get(name)!) as Partial<Header>;
    expect(plain(decodeHeader(bytesOf(hex)))).toEqual({ ...emptyHeader(), ...expected });
  });

  test.each([...blocks('hex', 'malformed-header')])('%s is malformed', (_name, hex) => {
    expect(() => decodeHeader(bytesOf(hex))).toThrow(MalformedHeader);
  });
});
