// Generators of header bytes for the differential tests of the two codecs: valid headers, and every way of being
// invalid that docs/wire-format.md names. They build bytes piece by piece and know nothing of either codec, so
// that a rule both codecs get wrong in the same way is not built into the tests as well.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';

/** Keys that generated attachments draw from: few, so that duplicates are common. */
export const keyPool = ['', 'k', 'key', 'é', 'x-request-id', '__proto__', '0'];

/** A varint of the shortest form, or padded with empty groups to `width` bytes. */
export function varint(value: bigint, width = 0): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest >= 0x80n || out.length + 1 < width) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Buffer.from(out);
}

const paddingWidth = fc.oneof(
  { weight: 20, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 10 }) },
  { weight: 1, arbitrary: fc.constant(11) },
);
const overflow = fc.oneof(
  { weight: 60, arbitrary: fc.constant(0n) },
  { weight: 1, arbitrary: fc.constantFrom(1n << 32n, 1n << 35n, 1n << 63n) },
);

/** A tag or length: nearly always proper, sometimes padded, seldom too long or too large. */
function number32(value: number): fc.Arbitrary<Buffer> {
  return fc.tuple(paddingWidth, overflow).map(([width, more]) => varint(BigInt(value) + more, width));
}

function lengthDelimited(contents: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(
      contents,
      fc.oneof(
        { weight: 60, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.constantFrom(-1, 1, 70_000) },
      ),
    )
    .chain(([bytes, off]) =>
      number32(Math.max(0, bytes.length + off)).map((length) => Buffer.concat([length, bytes])),
    );
}

const edgeText = fc.constantFrom(
  '',
  'a',
  'ringside',
  '\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}',
  '\ufeffbom',
  'nul\0inside',
  '1234567é',
  '12345678é',
);
const longText = fc
  .tuple(fc.constantFrom(126, 127, 128, 129, 255, 256, 257, 258), fc.constantFrom('x', 'é'))
  .map(([bytes, unit]) =>
    unit
      .repeat(Math.floor(bytes / Buffer.byteLength(unit)))
      .padEnd(bytes - (unit === 'é' ? Math.floor(bytes / 2) : 0), 'x'),
  );

/** Text that is valid UTF-8, short more often than not. */
export const text = fc.oneof(
  { weight: 4, arbitrary: edgeText },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  { weight: 1, arbitrary: longText },
);

const brokenText = fc
  .tuple(
    fc.constantFrom(
      '80',
      'bf',
      'c0af',
      'c1bf',
      'c2',
      'c3c3',
      'e08080',
      'e09fbf',
      'eda080',
      'edbfbf',
      'efbf',
      'f0808080',
      'f08fbfbf',
      'f09f98',
      'f4908080',
      'f5808080',
      'ff',
      'fe',
    ),
    fc.string({ maxLength: 9 }),
    fc.string({ maxLength: 9 }),
  )
  .map(([hex, before, after]) =>
    Buffer.concat([Buffer.from(before), Buffer.from(hex, 'hex'), Buffer.from(after)]),
  );

const textBytes = fc.oneof(
  { weight: 40, arbitrary: text.map((s) => Buffer.from(s)) },
  { weight: 1, arbitrary: brokenText },
);

function field(numberOfField: fc.Arbitrary<number>, contents: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(
      numberOfField.chain((n) => number32(n * 8 + 2)),
      lengthDelimited(contents),
    )
    .map((parts) => Buffer.concat(parts));
}

const anyBytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const exactBytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes));
const varintValue = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((v) => varint(v)) },
  // Ten bytes of anything are a value, eleven never are.
  {
    weight: 2,
    arbitrary: exactBytes(9).map((b) => Buffer.concat([b.map((x) => x | 0x80), Buffer.from([0x7f])])),
  },
  {
    weight: 1,
    arbitrary: exactBytes(10).map((b) => Buffer.concat([b.map((x) => x | 0x80), Buffer.from([0])])),
  },
);

const badWireType = fc.constantFrom(3, 4, 6, 7);

/** A field with a number from `numbers` and any wire type, its value fitting the type. */
function anyWireType(numbers: fc.Arbitrary<number>, wireType: fc.Arbitrary<number>): fc.Arbitrary<Buffer> {
  return fc.tuple(numbers, wireType).chain(([n, wire]) => {
    const value =
      wire === 0
        ? varintValue
        : wire === 1
          ? exactBytes(8)
          : wire === 5
            ? exactBytes(4)
            : wire === 2
              ? lengthDelimited(anyBytes(12))
              : anyBytes(4);
    return fc.tuple(number32(n * 8 + wire), value).map((parts) => Buffer.concat(parts));
  });
}

const goodWireType = fc.oneof(
  { weight: 60, arbitrary: fc.constantFrom(0, 1, 2, 5) },
  { weight: 1, arbitrary: badWireType },
);

const entryContents = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: field(
          fc.constant(1),
          fc.constantFrom(...keyPool).map((key) => Buffer.from(key)),
        ),
      },
      { weight: 6, arbitrary: field(fc.constant(2), textBytes) },
      { weight: 1, arbitrary: field(fc.constant(1), textBytes) },
      { weight: 1, arbitrary: anyWireType(fc.constantFrom(3, 11, 12, 536_870_911), goodWireType) },
      { weight: 1, arbitrary: anyWireType(fc.constantFrom(0, 1, 2), fc.constantFrom(0, 1, 5)) },
    ),
    { maxLength: 4 },
  )
  .map((parts) => Buffer.concat(parts));

const entry = field(fc.constant(11), entryContents);
const manyEntries = fc
  .tuple(entry, fc.integer({ min: 60, max: 66 }))
  .map(([one, count]) => Buffer.concat(Array.from({ length: count }, () => one)));

const piece = fc.oneof(
  { weight: 30, arbitrary: field(fc.integer({ min: 1, max: 10 }), textBytes) },
  { weight: 10, arbitrary: entry },
  { weight: 6, arbitrary: anyWireType(fc.constantFrom(12, 15, 16, 2047, 2048, 536_870_911), goodWireType) },
  {
    weight: 1,
    arbitrary: anyWireType(fc.integer({ min: 0, max: 11 }), fc.constantFrom(0, 1, 3, 4, 5, 6, 7)),
  },
  { weight: 1, arbitrary: manyEntries },
);

/** Headers of which about half are valid. */
export const structuredHeader = fc.array(piece, { maxLength: 8 }).map((parts) => Buffer.concat(parts));

const mutatedHeader = fc
  .tuple(structuredHeader, fc.nat(), fc.nat({ max: 255 }), fc.constantFrom('set', 'cut', 'insert', 'drop'))
  .map(([bytes, seed, value, how]) => {
    if (bytes.length === 0) return bytes;
    const at = seed % bytes.length;
    if (how === 'cut') return bytes.subarray(0, at);
    if (how === 'drop') return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    if (how === 'insert')
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([value]), bytes.subarray(at)]);
    const copy = Buffer.from(bytes);
    copy[at] = value;
    return copy;
  });

const largeHeader = fc
  .tuple(structuredHeader, fc.integer({ min: 16_000, max: 16_400 }))
  .map(([bytes, length]) =>
    Buffer.concat([bytes, Buffer.from([0x1a]), varint(BigInt(length)), Buffer.alloc(length, 'x')]),
  );

/** Any header: structured, mutated, random bytes, or around the largest size. */
export const anyHeader = fc.oneof(
  { weight: 12, arbitrary: structuredHeader },
  { weight: 6, arbitrary: mutatedHeader },
  { weight: 3, arbitrary: anyBytes(40) },
  { weight: 1, arbitrary: largeHeader },
);
