// What no agent would send, as bytes for one link: frames with nonsense in each field, answers to nobody's questions, bodies that never end, floods,
// half frames, garbage. Chosen by a seed; nothing here waits for anything.
import { Flag, FrameType, encodeFrame } from '../../../src/protocol/frame.js';
import type { FrameFields } from '../../../src/protocol/frame.js';
import { encodeHeader } from '../../../src/protocol/header.js';
import type { RandomSource } from '../random-source.js';

/** Ids that the other side knows. */
export interface KnownIds {
  idLo: number;
  idHi: number;
}

type Misdeed = (random: RandomSource, known: KnownIds) => Buffer;

function someId(random: RandomSource, known: KnownIds): KnownIds {
  return random.oneIn(2) ? known : { idLo: random.edge(), idHi: random.below(4) };
}

function anyFrame(random: RandomSource, known: KnownIds): Buffer {
  const fields: FrameFields = {
    type: 1 + random.below(12),
    flags: random.below(16),
    status: random.oneIn(3) ? random.below(17) : 0,
    attempt: random.below(256),
    timeoutMs: random.oneIn(2) ? random.edge() : 0,
    value: random.oneIn(2) ? random.edge() : 0,
    header: random.oneIn(3)
      ? random.bytes(random.below(40))
      : encodeHeader({ service: 'served', method: 'echo' }),
    body: Buffer.alloc(random.oneIn(4) ? random.below(60_000) : random.below(40), 'x'),
    ...someId(random, known),
  };
  const bytes = encodeFrame(fields);
  if (random.oneIn(5)) bytes[random.below(32)] = random.below(256);
  return bytes;
}

function many(n: number, one: (i: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: n }, (_, i) => one(i)));
}

/** By name, which is what a failed round is told by. */
export const misdeeds: Readonly<Record<string, Misdeed>> = {
  'any frames': (random, known) => many(1 + random.below(6), () => anyFrame(random, known)),
  garbage: (random) => random.bytes(1 + random.below(3000)),
  'half a frame': (random, known) => {
    const frame = anyFrame(random, known);
    return frame.subarray(0, 1 + random.below(frame.length));
  },
  'a reply twice': (_random, known) =>
    many(2, () => encodeFrame({ type: FrameType.response, ...known, body: Buffer.from('forged') })),
  'a malformed header': (random, known) =>
    encodeFrame({ type: FrameType.response, ...known, status: random.below(17), header: random.bytes(20) }),
  'a body without an end': (random, known) =>
    Buffer.concat([
      encodeFrame({
        type: FrameType.response,
        flags: Flag.more,
        value: random.edge(),
        ...known,
        body: Buffer.from('begun'),
      }),
      many(random.below(300), () =>
        encodeFrame({
          type: FrameType.chunk,
          flags: Flag.more | Flag.reply,
          ...known,
          body: Buffer.alloc(random.below(3) * 500),
        }),
      ),
    ]),
  credits: (random, known) =>
    many(1 + random.below(200), () =>
      encodeFrame({
        type: FrameType.credit,
        flags: random.oneIn(2) ? Flag.reply : 0,
        value: random.edge(),
        ...someId(random, known),
      }),
    ),
  'a flood': (random) => {
    const type = random.of([
      FrameType.ping,
      FrameType.pong,
      FrameType.cancel,
      FrameType.goAway,
      FrameType.goAwayAck,
    ]);
    return many(1 + random.below(3000), (i) => encodeFrame({ type, idLo: i, idHi: 0 }));
  },
  requests: (random) => {
    const sameId = random.oneIn(3);
    const header = encodeHeader({
      service: random.of(['served', 'unknown', '']),
      method: random.of(['echo', 'never', 'x']),
    });
    return many(1 + random.below(300), (i) =>
      encodeFrame({
        type: random.oneIn(6) ? FrameType.oneWay : FrameType.request,
        flags: random.oneIn(8) ? Flag.more : 0,
        value: random.oneIn(8) ? random.edge() : 0,
        timeoutMs: random.of([0, 1, 50, 2 ** 32 - 1]),
        idLo: sameId ? 9 : 1000 + i,
        idHi: 0,
        header,
      }),
    );
  },
};

/** One of them. */
export function misdeed(random: RandomSource, known: KnownIds): { name: string; bytes: Buffer } {
  const name = random.of(Object.keys(misdeeds));
  return { name, bytes: (misdeeds[name] as Misdeed)(random, known) };
}
