// The native header patcher against the TypeScript one: the same bytes come out, or both refuse. Beyond that the
// result is parsed: it must say what was asked for, and nothing else may have changed.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nativeCodec } from '../../src/native/codec.js';
import type { NativeHeader, NativeProblem } from '../../src/native/codec.js';
import { appendHeaderField, removeAttachment, setAttachment } from '../../src/protocol/header-patch.js';
import { decodeHeader, stringFields } from '../../src/protocol/header.js';
import { MalformedHeader } from '../../src/protocol/wire.js';
import { anyHeader, keyPool, text } from './codec-arbitraries.js';
import { fuzzSeeds } from './fuzz-seeds.js';

const codec = nativeCodec();
type Change = readonly [key: string, value: string | null];

function patchOrRefuse(patch: () => Buffer): Buffer | undefined {
  try {
    return patch();
  } catch (error) {
    if (error instanceof MalformedHeader || error instanceof RangeError) return undefined;
    throw error;
  }
}

function compare(got: Uint8Array | NativeProblem, expected: Buffer | undefined): got is Uint8Array {
  if (expected === undefined) {
    expect(got).toEqual({ problem: expect.any(String) as string });
    return false;
  }
  expect(got).toBeInstanceOf(Uint8Array);
  expect(Buffer.from(got as Uint8Array).toString('hex')).toBe(expected.toString('hex'));
  return true;
}

function parsed(bytes: Uint8Array, keys: readonly string[] = []): NativeHeader {
  const header = codec.parseHeader(bytes, keys);
  if ('problem' in header) throw new Error(header.problem);
  return header;
}

const isHeader = (bytes: Buffer): boolean => !('problem' in codec.parseHeader(bytes));

/** What a list of changes amounts to: the last one of each key, removals first, so that limits are met once. */
function patchOneByOne(header: Buffer, changes: readonly Change[]): Buffer {
  const last = new Map<string, string | null>();
  for (const [key, value] of changes) {
    last.delete(key);
    last.set(key, value);
  }
  let bytes = header;
  for (const key of last.keys()) bytes = removeAttachment(bytes, key);
  for (const [key, value] of last) if (value !== null) bytes = setAttachment(bytes, key, value);
  return bytes;
}

/** The recipe and the header of an input of native/fuzz/mesh_patch_fuzz.cc: field, room, two texts behind their lengths, header. */
function readRecipe(input: Buffer): { field: number; first: string; second: string; header: Buffer } {
  const field = (input[0] ?? 0) % 13;
  const firstEnd = 3 + (input[2] ?? 0);
  const secondEnd = firstEnd + 1 + (input[firstEnd] ?? 0);
  return {
    field,
    first: input.toString('utf8', 3, firstEnd),
    second: input.toString('utf8', firstEnd + 1, secondEnd),
    header: input.subarray(secondEnd),
  };
}

const wellFormedText = text.filter((value) => Buffer.from(value).toString() === value);

describe('header patchers, native and TypeScript', () => {
  it('append the same bytes', { timeout: 60_000 }, () => {
    let patched = 0;
    fc.assert(
      fc.property(
        anyHeader.filter(isHeader),
        fc.integer({ min: 0, max: 11 }),
        text,
        (bytes, field, value) => {
          const got = codec.patchHeader(bytes, field, value);
          if (
            !compare(
              got,
              patchOrRefuse(() => appendHeaderField(bytes, field, value)),
            )
          )
            return;
          patched += 1;
          const before = parsed(bytes);
          const after = parsed(got);
          expect(after.strings).toEqual(before.strings.with(field - 1, Buffer.from(value).toString()));
          expect(after.entries).toBe(before.entries);
        },
      ),
      { numRuns: 6000 },
    );
    expect(patched).toBeGreaterThan(3000);
  });

  it('make the same of what the fuzzer of the native one found, and it parses to the same', () => {
    let patched = 0;
    for (const input of fuzzSeeds('mesh_patch_fuzz').values()) {
      const { field, first, second, header } = readRecipe(input);
      if (isHeader(header)) {
        const expected = patchOrRefuse(() => appendHeaderField(header, field, first));
        const got = codec.patchHeader(header, field, first);
        if (compare(got, expected)) {
          patched += 1;
          const after = decodeHeader(Buffer.from(got));
          expect(after).toEqual({ ...decodeHeader(header), [stringFields[field - 1] as string]: first });
        }
      }
      const changes: Change[] = [
        ['k', first],
        [first, second],
        [second, null],
      ];
      compare(
        codec.patchHeader(header, changes),
        patchOrRefuse(() => patchOneByOne(header, changes)),
      );
    }
    expect(patched).toBeGreaterThan(5);
  });

  it('change attachments to the same bytes', { timeout: 60_000 }, () => {
    const change = fc.tuple(
      fc.oneof(fc.constantFrom(...keyPool), wellFormedText),
      fc.oneof(fc.constant(null), wellFormedText),
    );
    let patched = 0;
    let refused = 0;
    fc.assert(
      fc.property(anyHeader, fc.array(change, { maxLength: 5 }), (bytes, changes) => {
        const got = codec.patchHeader(bytes, changes);
        if (
          !compare(
            got,
            patchOrRefuse(() => (changes.length === 0 ? nothing(bytes) : patchOneByOne(bytes, changes))),
          )
        ) {
          refused += 1;
          return;
        }
        patched += 1;
        const keys = [...keyPool, 'none'].filter((key) => !changes.some(([changed]) => changed === key));
        const asked = new Map(changes);
        const before = parsed(bytes, keys);
        const after = parsed(got, [...keys, ...asked.keys()]);
        expect(after.strings).toEqual(before.strings);
        expect(after.found).toEqual([...before.found, ...asked.values()]);
      }),
      { numRuns: 6000 },
    );
    expect(patched).toBeGreaterThan(1500);
    expect(refused).toBeGreaterThan(500);
  });

  it('refuse the 65th attachment unless another one goes', () => {
    let header: Buffer = Buffer.alloc(0);
    for (let i = 0; i < 64; i += 1) header = setAttachment(header, `k${i}`, 'v');
    expect(codec.patchHeader(header, [['new', 'v']])).toEqual({ problem: 'more than 64 attachments' });
    compare(codec.patchHeader(header, [['k3', 'w']]), setAttachment(header, 'k3', 'w'));
    const swapped = setAttachment(removeAttachment(header, 'k3'), 'new', 'v');
    compare(
      codec.patchHeader(header, [
        ['k3', null],
        ['new', 'v'],
      ]),
      swapped,
    );
  });
});

/** No change at all still demands a valid header. */
function nothing(bytes: Buffer): Buffer {
  return removeAttachment(bytes, 'a key that no generator makes');
}
