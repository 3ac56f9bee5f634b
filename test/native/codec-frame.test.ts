// The native frame splitter against the TypeScript one, on streams of frames whole, cut and corrupted: the same
// frames come out, and both stop at the same protocol error.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nativeCodec } from '../../src/native/codec.js';
import type { NativeFixedPart } from '../../src/native/codec.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { fixedBytes } from '../../src/protocol/limits.js';

const codec = nativeCodec();

interface Outcome {
  frames: NativeFixedPart[];
  broken: boolean;
}

function splitNative(stream: Buffer): Outcome {
  const frames: NativeFixedPart[] = [];
  for (let at = 0; ;) {
    const frame = codec.splitFrame(stream.subarray(at));
    if (frame === undefined) return { frames, broken: false };
    if ('problem' in frame) return { frames, broken: true };
    frames.push(frame);
    at += fixedBytes + frame.headerBytes + frame.bodyBytes;
  }
}

function splitTypeScript(stream: Buffer): Outcome {
  const frames: NativeFixedPart[] = [];
  const problem = new FrameParser().push(stream, (frame) => {
    const { type, flags, status, attempt, idLo, idHi, timeoutMs, value, header, body } = frame;
    const numbers = { type, flags, status, attempt, idLo, idHi, timeoutMs, value };
    frames.push({ ...numbers, headerBytes: header.length, bodyBytes: body.length });
  });
  return { frames, broken: problem !== undefined };
}

const u8 = fc.nat({ max: 255 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const frame = fc
  .record({
    type: fc.integer({ min: 1, max: 12 }),
    flags: u8,
    status: fc.integer({ min: 0, max: 16 }),
    attempt: u8,
    idLo: u32,
    idHi: u32,
    timeoutMs: u32,
    value: u32,
    header: fc.uint8Array({ maxLength: 8 }),
    body: fc.uint8Array({ maxLength: 8 }),
  })
  .map(encodeFrame);

const stream = fc
  .tuple(
    fc.array(frame, { maxLength: 4 }),
    fc.constantFrom('whole', 'cut', 'corrupt', 'corrupt', 'random'),
    fc.nat(),
    fc.oneof(u8, fc.constantFrom(0, 1, 12, 13, 16, 17, 0x40, 0x41)),
  )
  .map(([frames, how, seed, value]) => {
    const bytes = Buffer.concat(frames);
    const at = bytes.length === 0 ? 0 : seed % bytes.length;
    if (how === 'cut') return bytes.subarray(0, at);
    if (how === 'corrupt' && bytes.length > 0) bytes[at] = value;
    if (how === 'random') bytes.fill(value, at);
    return bytes;
  });

describe('frame splitters, native and TypeScript', () => {
  it('agree on generated streams', { timeout: 60_000 }, () => {
    let broken = 0;
    let frames = 0;
    fc.assert(
      fc.property(stream, (bytes) => {
        const expected = splitTypeScript(bytes);
        expect(splitNative(bytes)).toEqual(expected);
        broken += expected.broken ? 1 : 0;
        frames += expected.frames.length;
      }),
      { numRuns: 6000 },
    );
    expect(broken).toBeGreaterThan(300);
    expect(frames).toBeGreaterThan(3000);
  });

  it('agree on every value of every byte of a fixed part', () => {
    const valid = encodeFrame({ type: 1, header: Buffer.alloc(3), body: Buffer.alloc(5) });
    for (let at = 0; at < fixedBytes; at += 1) {
      for (let value = 0; value < 256; value += 1) {
        const bytes = Buffer.from(valid);
        bytes[at] = value;
        expect(splitNative(bytes), `byte ${at} = ${value}`).toEqual(splitTypeScript(bytes));
      }
    }
  });
});
