// Runs the native codec over every example of docs/wire-format.md, so that the page holds for it as well as for the
// TypeScript codec (test/protocol).
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { nativeCodec } from '../../src/native/codec.js';
import { stringFields } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';
import { fixedBytes } from '../../src/protocol/limits.js';

interface ExpectedFrame {
  requestId: string;
  header: Partial<Header>;
  body: string;
}

const page = readFileSync(new URL('../../docs/wire-format.md', import.meta.url), 'utf8');
const codec = nativeCodec();

/** Blocks such as "hex frame:hello", by name. */
function blocks(kind: string): [name: string, text: string][] {
  const fenced = new RegExp(`^\`\`\`${kind}:([\\w-]+)\\n([^\`]*)\`\`\`$`, 'gm');
  return [...page.matchAll(fenced)].map((match) => [match[1]!, match[2]!]);
}

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');

function meaningOf(kind: string, name: string): unknown {
  const text = blocks(`json ${kind}`).find(([candidate]) => candidate === name)?.[1];
  if (text === undefined) throw new Error(`no meaning is given for ${kind}:${name}`);
  return JSON.parse(text);
}

function expectHeader(bytes: Buffer, expected: Partial<Header>): void {
  const attachments = Object.entries(expected.attachments ?? {});
  const keys = attachments.map(([key]) => key);
  const got = codec.parseHeader(bytes, [...keys, 'none of these']);
  expect(got).toMatchObject({
    strings: stringFields.map((name) => expected[name] ?? ''),
    found: [...attachments.map(([, value]) => value), null],
  });
}

it('the page has examples of every kind', () => {
  for (const kind of ['frame', 'header', 'malformed-header']) {
    expect(blocks(`hex ${kind}`).length, kind).toBeGreaterThanOrEqual(5);
  }
});

describe('frames', () => {
  it.each(blocks('hex frame'))('%s', (name, hex) => {
    const bytes = bytesOf(hex);
    const { header, body, requestId, ...numbers } = meaningOf('frame', name) as ExpectedFrame;
    const frame = codec.splitFrame(bytes);
    if (frame === undefined || 'problem' in frame) throw new Error(frame?.problem ?? 'not a whole frame');
    const { headerBytes, bodyBytes, idLo, idHi, ...got } = frame;
    expect(got).toEqual(numbers);
    expect(((BigInt(idHi) << 32n) | BigInt(idLo)).toString()).toBe(requestId);
    expect(fixedBytes + headerBytes + bodyBytes).toBe(bytes.length);
    expectHeader(bytes.subarray(fixedBytes, fixedBytes + headerBytes), header);
    expect(bytes.subarray(fixedBytes + headerBytes).toString()).toBe(body);
    expect(codec.splitFrame(bytes.subarray(0, -1))).toBeUndefined();
  });
});

describe('headers', () => {
  it.each(blocks('hex header'))('accepted: %s', (name, hex) => {
    expectHeader(bytesOf(hex), meaningOf('header', name) as Partial<Header>);
  });

  it.each(blocks('hex malformed-header'))('malformed: %s', (_name, hex) => {
    expect(codec.parseHeader(bytesOf(hex))).toEqual({ problem: expect.any(String) as string });
  });
});
