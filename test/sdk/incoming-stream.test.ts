// Putting bodies together: any cutting gives the same body, memory follows what has arrived and not what is claimed,
// credit follows what was taken, and bounds are given back.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MeshError } from '../../src/base/errors.js';
import { Flag, FrameType, encodeFrame, readFrame } from '../../src/protocol/frame.js';
import type { Frame, FrameFields } from '../../src/protocol/frame.js';
import { IncomingBodies, IncomingBody } from '../../src/sdk/incoming-stream.js';
import type { BodySink } from '../../src/sdk/incoming-stream.js';

const window = 262_144;
const limits = { maxBodyBytes: 0xffffffff, maxStreams: 4, maxStreamBytes: Number.MAX_SAFE_INTEGER };
const nobody: BodySink = { onBody: () => undefined, onBroken: () => undefined };

function frame(fields: FrameFields): Frame {
  return readFrame(encodeFrame(fields), 0);
}

function first(idLo: number, value: number, body: Uint8Array): Frame {
  return frame({ type: FrameType.request, flags: Flag.more, idLo, value, body });
}

function chunk(idLo: number, body: Uint8Array, last = false): Frame {
  return frame({ type: FrameType.chunk, flags: last ? 0 : Flag.more, idLo, body });
}

test('any cutting: the body is whole, and credit is given in time, in steps, and never too much', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 2, maxLength: 40 });
  fc.assert(
    fc.property(sizes, (list) => {
      const whole = Buffer.concat(list.map((size, i) => Buffer.alloc(size, i)));
      let granted = 0;
      let sent = 0;
      let got: Buffer | undefined;
      const bodies = new IncomingBodies(limits, (body, bytes) => {
        expect(body.totalBytes).toBe(whole.length);
        expect(bytes).toBeGreaterThanOrEqual(65_536);
        granted += bytes;
        expect(granted).toBeLessThanOrEqual(sent);
      });
      list.forEach((size, i) => {
        const last = i === list.length - 1;
        // A sender that keeps the window can always send the next piece.
        expect(sent + size).toBeLessThanOrEqual(window + granted);
        const piece = whole.subarray(sent, sent + size);
        sent += size;
        if (i > 0) expect(bodies.chunk(chunk(0, piece, last))).toBeUndefined();
        else {
          const sink: BodySink = { ...nobody, onBody: (body) => (got = body) };
          expect(bodies.begin(first(0, whole.length, piece), false, sink)).toBeInstanceOf(IncomingBody);
        }
      });
      expect(got!.equals(whole)).toBe(true);
      expect([bodies.count, bodies.claimedBytes]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
}, 30_000);

test('a body that is whole while its sender says that more follows is broken, as the engine has it', () => {
  const bodies = new IncomingBodies(limits, () => undefined);
  expect(bodies.begin(first(1, 10, Buffer.alloc(10)), false, nobody)).toMatchObject({
    status: 'INVALID_ARGUMENT',
  });
  const broken: [string, boolean][] = [];
  const sink: BodySink = { ...nobody, onBroken: (error, goesOn) => broken.push([error.status, goesOn]) };
  bodies.begin(first(2, 10, Buffer.alloc(4)), false, sink);
  expect(bodies.chunk(chunk(2, Buffer.alloc(6)))).toBeUndefined();
  expect(broken).toEqual([['INVALID_ARGUMENT', true]]);
  expect(bodies.count).toBe(0);
});

test('no more is set aside than the body has, nor than twice what has arrived, or 4 MiB once 128 KiB are there', () => {
  for (const totalBytes of [1_000_000, 40_000_000]) {
    const body = new IncomingBody(false, 1, 0, totalBytes, nobody);
    expect(body.bytes.buffer.byteLength).toBe(0);
    const piece = Buffer.alloc(65_536);
    for (let arrived = 0; arrived < totalBytes;) {
      const part = piece.subarray(0, Math.min(arrived < 1000 ? 10 : piece.length, totalBytes - arrived));
      body.append(chunk(1, part));
      arrived += part.length;
      expect(body.filledBytes).toBe(arrived);
      const room = Math.max(2 * arrived, arrived > 2 * 65_536 ? 4 * 1024 * 1024 : 0);
      const bound = Math.min(room, totalBytes);
      expect(body.bytes.buffer.byteLength).toBeLessThanOrEqual(bound);
    }
  }
});

test('memory is touched only as far as bytes have arrived, whatever length is claimed', () => {
  const claimedBytes = 4 * 1024 * 1024;
  const piece = Buffer.alloc(65_536);
  const before = process.memoryUsage.rss();
  const bodies = Array.from({ length: 100 }, () => {
    const body = new IncomingBody(false, 1, 0, claimedBytes, nobody);
    for (let i = 0; i < 3; i++) body.append(chunk(1, piece));
    return body;
  });
  expect(process.memoryUsage.rss() - before).toBeLessThan((bodies.length * claimedBytes) / 4);
  expect(bodies.every((body) => body.bytes.length === claimedBytes)).toBe(true);
});

test('bounds are given back by an end of any kind', () => {
  const bodies = new IncomingBodies(
    { maxBodyBytes: 1000, maxStreams: 2, maxStreamBytes: 1500 },
    () => undefined,
  );
  const broken: [string, boolean, boolean][] = [];
  const sink: BodySink = {
    ...nobody,
    onBroken: ({ status, mayHaveRun }, goesOn) => broken.push([status, mayHaveRun, goesOn]),
  };
  const one = Buffer.alloc(1);
  const begin = (idLo: number, value: number): string => {
    const begun = bodies.begin(first(idLo, value, one), false, sink);
    return begun instanceof MeshError ? begun.message.replace(/.*\(/, '(') : 'begun';
  };
  expect(begin(1, 1001)).toBe('(maxBodyBytes)');
  expect(begin(1, 1000)).toBe('begun');
  expect(begin(2, 501)).toBe('(maxStreamBytes)');
  expect(begin(2, 500)).toBe('begun');
  expect(begin(3, 2)).toBe('(maxStreams)');
  bodies.chunk(chunk(1, one, true));
  expect(bodies.claimedBytes).toBe(500);
  expect(begin(1, 1000)).toBe('begun');
  bodies.chunk(chunk(2, Buffer.alloc(500)));
  expect(begin(2, 2)).toBe('begun');
  bodies.chunk(chunk(2, one, true));
  const dropped = bodies.begin(first(2, 5, one), false, sink) as IncomingBody;
  bodies.drop(dropped);
  bodies.drop(dropped);
  expect([bodies.count, bodies.claimedBytes]).toEqual([1, 1000]);
  bodies.clear();
  bodies.drop(dropped);
  expect([bodies.count, bodies.claimedBytes]).toEqual([0, 0]);
  expect(broken).toEqual([
    ['INVALID_ARGUMENT', false, false],
    ['INVALID_ARGUMENT', false, true],
  ]);
});

test('a body of the same id that came later is not dropped with an earlier one', () => {
  const bodies = new IncomingBodies(limits, () => undefined);
  const earlier = bodies.begin(first(1, 9, Buffer.alloc(1)), false, nobody) as IncomingBody;
  bodies.drop(earlier);
  bodies.begin(first(1, 9, Buffer.alloc(1)), false, nobody);
  bodies.drop(earlier);
  expect(bodies.count).toBe(1);
});

test('a chunk may be overwritten as soon as it was taken', () => {
  let got: Buffer | undefined;
  const bodies = new IncomingBodies(limits, () => undefined);
  const begun = first(1, 4, Buffer.from('ab'));
  bodies.begin(begun, false, { ...nobody, onBody: (body) => (got = body) });
  begun.bytes.fill(0);
  const rest = chunk(1, Buffer.from('cd'), true);
  bodies.chunk(rest);
  rest.bytes.fill(0);
  expect(got!.toString()).toBe('abcd');
});

test('one caller that sends all it may leaves room for others on the same link', () => {
  const bodies = new IncomingBodies(
    { maxBodyBytes: 1000, maxStreams: 16, maxStreamBytes: 12_000 },
    () => undefined,
  );
  let id = 0;
  const begin = (bytes: number, sender: string): string => {
    const begun = bodies.begin(first(++id, bytes, Buffer.alloc(1)), false, nobody, sender);
    return begun instanceof MeshError ? begun.message.replace(/.*\(/, '(') : 'begun';
  };
  const untilRefused = (bytes: number, sender: string): [number, string] => {
    for (let taken = 0; ; taken += 1) {
      const said = begin(bytes, sender);
      if (said !== 'begun') return [taken, said];
    }
  };
  expect(untilRefused(10, 'greedy')).toEqual([16, '(maxStreams)']);
  expect(begin(10, 'honest')).toBe('begun');
  bodies.clear();
  expect(untilRefused(1000, 'greedy')).toEqual([9, '(maxStreamBytes)']);
  expect(begin(1000, 'honest')).toBe('begun');
});
