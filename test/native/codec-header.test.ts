// The native header parser against the TypeScript one, which is the oracle: both must accept the same bytes and
// read the same from them. A difference here would let one agent see another request than its peer does.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nativeCodec } from '../../src/native/codec.js';
import { attachmentsField, decodeHeader, stringFields } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';
import { MalformedHeader, WireScanner } from '../../src/protocol/wire.js';
import { anyHeader, keyPool, varint } from './codec-arbitraries.js';
import { fuzzSeeds } from './fuzz-seeds.js';

const codec = nativeCodec();

function decodeOrRefuse(bytes: Buffer): Header | undefined {
  try {
    return decodeHeader(bytes);
  } catch (error) {
    if (error instanceof MalformedHeader) return undefined;
    throw error;
  }
}

function countEntries(bytes: Buffer): number {
  const scan = new WireScanner(bytes, 0, bytes.length);
  let count = 0;
  while (scan.at < bytes.length) {
    const tag = scan.varint32();
    if (tag >>> 3 === attachmentsField) count += 1;
    scan.skip(tag & 7);
  }
  return count;
}

/** Compares both codecs on one header; answers whether they accept it. */
function agree(bytes: Buffer): boolean {
  const expected = decodeOrRefuse(bytes);
  const keys = [...new Set([...keyPool, 'none', ...Object.keys(expected?.attachments ?? {})])];
  const got = codec.parseHeader(bytes, keys);
  if (expected === undefined) {
    expect(got, bytes.toString('hex')).toEqual({ problem: expect.any(String) as string });
    return false;
  }
  expect(got, bytes.toString('hex')).toEqual({
    strings: stringFields.map((name) => expected[name]),
    entries: countEntries(bytes),
    found: keys.map((key) => expected.attachments?.[key] ?? null),
  });
  return true;
}

describe('header parsers, native and TypeScript', () => {
  it('agree on generated headers', { timeout: 60_000 }, () => {
    const runs = 20_000;
    let accepted = 0;
    fc.assert(
      fc.property(anyHeader, (bytes) => {
        if (agree(bytes)) accepted += 1;
      }),
      { numRuns: runs },
    );
    // Were nearly all of one kind, the other would be untested.
    expect(accepted).toBeGreaterThan(runs / 5);
    expect(accepted).toBeLessThan((runs * 4) / 5);
  });

  it('agree on what the fuzzer of the native one found', () => {
    const accepted = [...fuzzSeeds('mesh_header_fuzz').values()].filter((bytes) => agree(bytes));
    expect(accepted.length).toBeGreaterThan(10);
  });

  it('agree on every one-byte and two-byte header', () => {
    let accepted = agree(Buffer.alloc(0)) ? 1 : 0;
    for (let first = 0; first < 256; first += 1) {
      if (agree(Buffer.from([first]))) accepted += 1;
      for (const second of [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff]) {
        if (agree(Buffer.from([first, second]))) accepted += 1;
      }
    }
    expect(accepted).toBeGreaterThan(10);
  });

  it('agree on tags and lengths of every width', () => {
    const accepted: number[] = [];
    for (let width = 1; width <= 12; width += 1) {
      if (agree(Buffer.concat([varint(0x0an, width), Buffer.from([1, 0x73])]))) accepted.push(width);
      agree(Buffer.concat([Buffer.from([0x0a]), varint(1n, width), Buffer.from('s')]));
      agree(Buffer.concat([Buffer.from([0x60]), varint(1n, width)]));
    }
    expect(accepted).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('agree on varints at the edge of 32 and 64 bits', () => {
    for (const value of [
      (1n << 32n) - 1n,
      1n << 32n,
      (1n << 35n) - 1n,
      1n << 35n,
      (1n << 64n) - 1n,
      (1n << 70n) - 1n,
    ]) {
      agree(Buffer.concat([Buffer.from([0x60]), varint(value)]));
      agree(Buffer.concat([Buffer.from([0x0a]), varint(value)]));
      for (const wire of [0n, 1n, 2n, 5n])
        agree(Buffer.concat([varint((value & ~7n) | wire), Buffer.alloc(8)]));
    }
    expect(agree(Buffer.concat([varint(0xfffffffdn), Buffer.alloc(4)]))).toBe(true);
    expect(agree(Buffer.concat([varint(0x1fffffffdn), Buffer.alloc(4)]))).toBe(false);
  });
});
