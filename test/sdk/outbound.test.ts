// The outbound bytes of a link: nothing lost, doubled or reordered, whatever the channel takes; recalled frames only
// as long as the channel has not got them.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameType, encodeFrame, readFrame } from '../../src/protocol/frame.js';
import type { Frame } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import type { Channel } from '../../src/sdk/channel.js';
import { Outbound } from '../../src/sdk/outbound.js';

/** Takes a given number of whole frames per write. `keeps` reads them only at the next write, as a socket may. */
class FakeChannel implements Channel {
  readonly kind = 'shm';
  readonly frames: Frame[] = [];
  frameBudget = 0;
  #kept: Buffer | undefined;
  readonly #parser = new FrameParser();

  constructor(readonly keeps: boolean) {}

  readonly gather = { batchFrames: 1, ready: () => false, write: () => undefined };

  get holdsBuffer(): boolean {
    return this.#kept !== undefined;
  }

  write(bytes: Buffer, start: number, end: number): number {
    this.settle();
    let at = start;
    while (at < end && this.frameBudget > 0) {
      at = readFrame(bytes, at).bodyEnd;
      this.frameBudget -= 1;
    }
    const taken = bytes.subarray(start, at);
    if (this.keeps && at === end) this.#kept = taken;
    else this.#take(taken);
    return at - start;
  }

  settle(): void {
    if (this.#kept !== undefined) this.#take(this.#kept);
    this.#kept = undefined;
  }

  close(): void {}

  #take(bytes: Buffer): void {
    expect(this.#parser.push(Buffer.from(bytes), (frame) => this.frames.push(frame))).toBeUndefined();
  }
}

const steps = fc.array(
  fc.oneof(
    fc.record({ write: fc.integer({ min: 0, max: 60_000 }) }),
    fc.record({ flush: fc.integer({ min: 0, max: 6 }) }),
    fc.record({ recall: fc.nat() }),
  ),
  { maxLength: 60 },
);

test('any writing, flushing and recalling', () => {
  fc.assert(
    fc.property(steps, fc.boolean(), (list, keeps) => {
      const out = new Outbound();
      const channel = new FakeChannel(keeps);
      const written: { start: number; end: number; size: number; recalled: boolean }[] = [];
      for (const step of list) {
        if ('write' in step) {
          const id = written.length;
          const frame = encodeFrame({
            type: FrameType.request,
            idLo: id,
            timeoutMs: 5,
            body: Buffer.alloc(step.write, id),
          });
          const start = out.position;
          const at = out.reserve(frame.length);
          out.bytes.set(frame, at);
          written.push({ start, end: out.position, size: step.write, recalled: false });
        } else if ('flush' in step) {
          channel.frameBudget = step.flush;
          const before = out.size;
          expect(out.flush(channel)).toBe(out.size === 0);
          expect(out.size).toBeLessThanOrEqual(before);
        } else if (written.length > 0) {
          const entry = written[step.recall % written.length]!;
          const waits = entry.end > out.handed;
          expect(out.recall(entry.start)).toBe(waits);
          if (waits) entry.recalled = true;
        }
        expect(out.position - out.handed).toBe(out.size);
      }
      channel.frameBudget = Infinity;
      expect(out.flush(channel)).toBe(true);
      channel.settle();
      expect(
        channel.frames.map((frame) => [frame.idLo, frame.body.length, frame.type, frame.timeoutMs]),
      ).toEqual(
        written.map(({ size, recalled }, id) =>
          recalled ? [id, size, FrameType.cancel, 0] : [id, size, FrameType.request, 5],
        ),
      );
      channel.frames.forEach((frame, id) => expect(frame.body.every((byte) => byte === id % 256)).toBe(true));
    }),
    { numRuns: 60 },
  );
}, 30_000);
