// Whose piece leaves next: any order of adding, crediting, dropping and taking keeps credit, order and bounds, and every
// body comes out whole; streams take turns.
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { MeshError } from '../../src/base/errors.js';
import { Flag, FrameType, readFrame } from '../../src/protocol/frame.js';
import type { Frame } from '../../src/protocol/frame.js';
import { OutgoingStream, OutgoingStreams } from '../../src/sdk/outgoing-stream.js';
import type { Piece } from '../../src/sdk/outgoing-stream.js';

const window = 262_144;

interface MadeOptions {
  reply?: boolean;
  deadlineMs?: number;
  onBroken?: (stream: OutgoingStream, error: MeshError) => void;
}

function made(idLo: number, bytes: number, options: MadeOptions = {}): OutgoingStream {
  const { reply = false, deadlineMs = Infinity, onBroken = () => undefined } = options;
  const body = Buffer.alloc(bytes, idLo);
  return new OutgoingStream(reply, idLo, 0, Buffer.from([0x0a, 1, 0x73]), body, deadlineMs, onBroken);
}

function frameOf({ prefix, body }: Piece): Frame {
  return readFrame(Buffer.concat([prefix, body]), 0);
}

/** Ids of the next pieces, until nothing may be sent. */
function drain(streams: OutgoingStreams): number[] {
  const ids: number[] = [];
  for (let piece = streams.next(); piece !== undefined; piece = streams.next()) ids.push(piece.stream.idLo);
  return ids;
}

const steps = fc.array(
  fc.oneof(
    fc.record({ add: fc.integer({ min: 65_537, max: 900_000 }), reply: fc.boolean() }),
    fc.record({ credit: fc.nat(), bytes: fc.integer({ min: 0, max: window }) }),
    fc.record({ drop: fc.nat() }),
    fc.record({ next: fc.integer({ min: 1, max: 9 }) }),
  ),
  { maxLength: 80 },
);

test('any order of steps: credit, order, bounds and bodies hold', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 4 }), (list, maxStreams) => {
      const streams = new OutgoingStreams(maxStreams);
      const all: { stream: OutgoingStream; credited: number; sent: number; dropped: boolean }[] = [];
      const begun: number[] = [];
      const take = (): boolean => {
        const ready = streams.ready;
        const piece = streams.next();
        expect(piece !== undefined).toBe(ready);
        if (piece === undefined) return false;
        const frame = frameOf(piece);
        const entry = all[frame.idLo]!;
        const first = entry.sent === 0;
        const { stream } = entry;
        const last = entry.sent + piece.body.length === stream.totalBytes;
        expect(entry.dropped).toBe(false);
        expect(piece.body.length).toBeGreaterThan(0);
        expect(piece.body.length).toBeLessThanOrEqual(65_536);
        const types = [FrameType.chunk, stream.reply ? FrameType.response : FrameType.request];
        expect(frame.type).toBe(types[first ? 1 : 0]);
        expect(frame.flags).toBe((last ? 0 : Flag.more) | (stream.reply && !first ? Flag.reply : 0));
        expect(frame.value).toBe(first ? stream.totalBytes : 0);
        if (first) begun.push(frame.idLo);
        entry.sent += piece.body.length;
        expect(entry.sent).toBeLessThanOrEqual(window + entry.credited);
        expect(stream.ended).toBe(last);
        // Pending calls keep their streams: what was sent must not stay in memory with them.
        expect(stream.body.length).toBe(last ? 0 : stream.totalBytes);
        expect(piece.body.every((byte) => byte === stream.idLo % 256)).toBe(true);
        return true;
      };
      for (const step of list) {
        if ('add' in step) {
          const stream = made(all.length, step.add, { reply: step.reply });
          all.push({ stream, credited: 0, sent: 0, dropped: false });
          expect(streams.add(stream)).toBe(true);
          expect(streams.add(stream)).toBe(false);
        } else if ('credit' in step && all.length > 0) {
          const entry = all[step.credit % all.length]!;
          const { stream } = entry;
          const known = !stream.ended;
          const allowed = step.bytes > 0 && stream.allowanceBytes + step.bytes <= window;
          const problem = streams.credit(stream.reply, stream.idLo, 0, step.bytes);
          expect(problem === undefined).toBe(!known || allowed);
          if (known && allowed) entry.credited += step.bytes;
        } else if ('drop' in step && all.length > 0) {
          const entry = all[step.drop % all.length]!;
          entry.dropped ||= !entry.stream.ended;
          streams.drop(entry.stream);
        } else if ('next' in step) for (let i = 0; i < step.next; i += 1) take();
        const open = all.filter(({ stream }) => !stream.ended);
        expect(streams.count).toBe(open.length);
        expect(open.filter(({ sent }) => sent > 0).length).toBeLessThanOrEqual(maxStreams);
        const unbegun = open.filter(({ stream, sent }) => !stream.reply && sent === 0);
        expect(streams.unbegunRequests).toBe(unbegun.length);
        const replies = open.filter(({ stream }) => stream.reply);
        expect(streams.replyBytes).toBe(replies.reduce((sum, { stream }) => sum + stream.totalBytes, 0));
      }
      // Credit for all: everything that was not dropped comes out to its end.
      for (let open = all; open.length > 0; open = all.filter(({ stream }) => !stream.ended)) {
        while (take());
        for (const entry of open) {
          const bytes = window - entry.stream.allowanceBytes;
          if (bytes === 0) continue; // waits for its turn, not for credit
          expect(streams.credit(entry.stream.reply, entry.stream.idLo, 0, bytes)).toBeUndefined();
          entry.credited += bytes;
        }
      }
      expect(all.every(({ stream, sent, dropped }) => dropped || sent === stream.totalBytes)).toBe(true);
      expect(begun).toEqual([...begun].sort((a, b) => a - b));
    }),
    { numRuns: 150 },
  );
}, 30_000);

test('streams take turns, and one without credit is passed over', () => {
  const streams = new OutgoingStreams(8);
  for (const idLo of [1, 2, 3]) streams.add(made(idLo, 1_000_000));
  expect(drain(streams)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
  expect(streams.credit(false, 2, 0, 0)).toContain('nothing');
  streams.credit(false, 2, 0, 131_072);
  streams.add(made(4, 100_000));
  streams.credit(false, 1, 0, 65_536);
  expect(drain(streams)).toEqual([2, 4, 1, 2, 4]);
});

test('the bodies of a request and of a response with the same id are two streams', () => {
  const streams = new OutgoingStreams(8);
  streams.add(made(1, 300_000));
  streams.add(made(1, 300_000, { reply: true }));
  drain(streams);
  streams.credit(true, 1, 0, 100);
  expect(streams.next()!.body).toHaveLength(100);
  expect(streams.find(true, 1, 0)!.sentBytes).toBe(window + 100);
  expect(streams.find(false, 1, 0)!.sentBytes).toBe(window);
});

test('a request states the time that is left when its turn comes', () => {
  const streams = new OutgoingStreams(1);
  streams.add(made(1, 70_000, { deadlineMs: performance.now() + 5000 }));
  expect(frameOf(streams.next()!).timeoutMs).toBeLessThanOrEqual(5000);
  streams.next();
  streams.add(made(2, 70_000, { deadlineMs: performance.now() - 5000 }));
  expect(frameOf(streams.next()!).timeoutMs).toBe(1);
});

test('clear() ends everything and frees the ids', () => {
  const streams = new OutgoingStreams(1);
  const three = [made(1, 100_000), made(2, 100_000, { reply: true }), made(3, 100_000)];
  for (const stream of three) streams.add(stream);
  streams.next();
  streams.clear();
  expect([streams.count, streams.unbegunRequests, streams.replyBytes, streams.ready]).toEqual([
    0,
    0,
    0,
    false,
  ]);
  expect(three.every(({ ended, body }) => ended && body.length === 0)).toBe(true);
  for (const stream of three) streams.drop(stream);
  expect(streams.replyBytes).toBe(0);
  expect(streams.add(made(1, 100_000))).toBe(true);
  expect(drain(streams)).toEqual([1, 1]);
});

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

test('an answer breaks at its deadline, a request does not; what was queued behind it begins', async () => {
  const broken: [number, string][] = [];
  const onBroken = ({ idLo }: OutgoingStream, { status }: MeshError): void =>
    void broken.push([idLo, status]);
  const streams = new OutgoingStreams(1);
  const deadlineMs = performance.now() + 100;
  streams.add(made(1, 1_000_000, { reply: true, deadlineMs, onBroken }));
  streams.add(made(2, 1_000_000, { deadlineMs, onBroken }));
  streams.add(made(3, 1_000_000, { reply: true, deadlineMs, onBroken }));
  expect(drain(streams)).toEqual([1, 1, 1, 1]);
  await vi.advanceTimersByTimeAsync(150);
  expect(broken).toEqual([
    [1, 'DEADLINE_EXCEEDED'],
    [3, 'DEADLINE_EXCEEDED'],
  ]);
  expect(drain(streams)).toEqual([2, 2, 2, 2]);
  expect(streams.count).toBe(1);
});
