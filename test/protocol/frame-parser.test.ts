// The stream parser: any cutting of the stream gives the same frames, memory stays bounded, and a protocol error
// ends it with a reason, after the frames that came before.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Flag, FrameType, encodeFrame } from '../../src/protocol/frame.js';
import type { Frame } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { maxFrameBodyBytes, maxHeaderBytes } from '../../src/protocol/limits.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const fields = fc.record({
  type: fc.integer({ min: 1, max: 12 }),
  flags: fc.integer({ min: 0, max: 255 }),
  status: fc.integer({ min: 0, max: 16 }),
  attempt: fc.integer({ min: 0, max: 255 }),
  idLo: u32,
  idHi: u32,
  timeoutMs: u32,
  value: u32,
  header: fc.uint8Array({ maxLength: 40 }),
  body: fc.uint8Array({ maxLength: 200 }),
});

function contents(frame: Frame): object {
  const { type, flags, status, attempt, idLo, idHi, timeoutMs, value } = frame;
  const header = Uint8Array.from(frame.header);
  return {
    type,
    flags,
    status,
    attempt,
    idLo,
    idHi,
    timeoutMs,
    value,
    header,
    body: Uint8Array.from(frame.body),
  };
}

describe('cutting', () => {
  test('any cutting of the stream gives the same frames', () => {
    const run = fc.property(
      fc.array(fields, { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 90 })),
      (list, cuts) => {
        const stream = Buffer.concat(list.map(encodeFrame));
        const parser = new FrameParser();
        const seen: object[] = [];
        let at = 0;
        while (at < stream.length) {
          const size = cuts.next().value as number;
          expect(
            parser.push(stream.subarray(at, at + size), (frame) => seen.push(contents(frame))),
          ).toBeUndefined();
          at += size;
        }
        expect(seen).toEqual(list);
        expect(parser.partialBytes).toBe(0);
      },
    );
    fc.assert(run, { numRuns: 300 });
  });

  test('a frame that lies whole in its chunk is a slice of it; one across chunks survives its chunks', () => {
    const one = encodeFrame({ type: FrameType.request, body: Buffer.from('first') });
    const two = encodeFrame({ type: FrameType.request, body: Buffer.from('second') });
    const stream = Buffer.concat([one, two]);
    const head = Buffer.from(stream.subarray(0, one.length + 34));
    const tail = Buffer.from(stream.subarray(one.length + 34));
    const parser = new FrameParser();
    const seen: Frame[] = [];
    parser.push(head, (frame) => seen.push(frame));
    parser.push(tail, (frame) => seen.push(frame));
    expect(seen[0]!.body.buffer).toBe(head.buffer);
    head.fill(0);
    tail.fill(0);
    expect(seen[1]!.body.toString()).toBe('second');
  });
});

describe('bounds', () => {
  test('the largest frame passes byte by byte, and never more than it is held', () => {
    const bytes = encodeFrame({
      type: FrameType.request,
      flags: Flag.more,
      header: Buffer.alloc(maxHeaderBytes),
      body: Buffer.alloc(maxFrameBodyBytes),
    });
    const parser = new FrameParser();
    let frames = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      parser.push(bytes, () => (frames += 1), at, at + 1);
      expect(parser.partialBytes).toBe(at + 1 === bytes.length ? 0 : at + 1);
    }
    expect(frames).toBe(1);
  });

  const good = encodeFrame({ type: FrameType.ping, idLo: 7 });
  const broken = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  const cases: [string, Buffer][] = [
    ['wrong magic', broken((bytes) => (bytes[0] = 0x52))],
    ['unsupported protocol version 2', broken((bytes) => (bytes[2] = 2))],
    ['unknown frame type 0', broken((bytes) => (bytes[3] = 0))],
    ['unknown frame type 13', broken((bytes) => (bytes[3] = 13))],
    ['unknown status 17', broken((bytes) => (bytes[5] = 17))],
    ['reserved byte is not 0', broken((bytes) => (bytes[7] = 1))],
    ['header of 16385 bytes is over the limit of 16384', broken((bytes) => bytes.writeUInt32LE(16385, 8))],
    [
      'header of 4294967295 bytes is over the limit of 16384',
      broken((bytes) => bytes.writeUInt32LE(0xffffffff, 8)),
    ],
    ['body of 65537 bytes is over the limit of 65536', broken((bytes) => bytes.writeUInt32LE(65537, 12))],
  ];

  test.each(cases)('%s', (reason, bytes) => {
    for (const size of [1, 31, 64]) {
      const parser = new FrameParser();
      const seen: number[] = [];
      const stream = Buffer.concat([good, bytes, good]);
      let problem: string | undefined;
      for (let at = 0; at < stream.length; at += size) {
        problem = parser.push(stream.subarray(at, at + size), (frame) => seen.push(frame.idLo));
      }
      expect(problem).toBe(reason);
      expect(seen).toEqual([7]);
    }
  });

  test('after stop no frame comes, not even from the same chunk', () => {
    const parser = new FrameParser();
    let seen = 0;
    const stop = (): void => {
      seen += 1;
      parser.stop('enough');
    };
    expect(parser.push(Buffer.concat([good, good]), stop)).toBe('enough');
    expect(parser.push(good, stop)).toBe('enough');
    expect(seen).toBe(1);
  });
});

test('a frame that was kept stays as it was, whatever chunks come behind it', () => {
  const parser = new FrameParser();
  const kept: Frame[] = [];
  const chunks: string[] = [];
  const stream = Buffer.concat([
    encodeFrame({ type: FrameType.request, flags: Flag.more, value: 12, body: Buffer.from('first') }),
    encodeFrame({ type: FrameType.chunk, flags: Flag.more, body: Buffer.from('second') }),
    encodeFrame({ type: FrameType.response, body: Buffer.from('third') }),
    encodeFrame({ type: FrameType.chunk, body: Buffer.from('4') }),
  ]);
  for (let at = 0; at < stream.length; at += 33) {
    parser.push(Buffer.from(stream.subarray(at, at + 33)), (frame) => {
      if (frame.type === FrameType.chunk) chunks.push(frame.body.toString());
      else kept.push(frame);
    });
  }
  expect(kept.map(({ body }) => body.toString())).toEqual(['first', 'third']);
  expect(chunks).toEqual(['second', '4']);
});
