// The SDK over real rings: the real addon on this side, an agent in a process of its own on the other.
import { randomFillSync } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../src/index.js';
import type { Client, Reply } from '../../src/index.js';
import { Flag, FrameType, encodeFrame, readFrame } from '../../src/protocol/frame.js';
import type { FrameFields } from '../../src/protocol/frame.js';
import { decodeHeader } from '../../src/protocol/header.js';
import { FakeAgent } from '../support/fake-agent.js';

const ringBytes = 262_144;
let agent: FakeAgent;
let client: Client;

beforeEach(async () => {
  agent = await FakeAgent.start();
  const connecting = connect({ agent: agent.socketPath, transport: 'shm', ringBytes, log: () => undefined });
  agent.send('accept');
  const hello = readFrame(Buffer.from(await agent.expect('hello'), 'hex'), 0);
  expect(hello.value).toBe(ringBytes);
  agent.send('welcome', 0, ringBytes);
  client = await connecting;
});

afterEach(async () => {
  const ended = agent.stop();
  await client.close();
  await ended;
});

/** The next frame that the agent finds in its ring. */
async function nextFrame(): Promise<ReturnType<typeof readFrame>> {
  for (;;) {
    const line = await agent.line();
    if (line.startsWith('frame ')) return readFrame(Buffer.from(line.slice(6), 'hex'), 0);
  }
}

function answer(idLo: number, idHi: number, body: string): void {
  const frame = encodeFrame({ type: FrameType.response, idLo, idHi, body: Buffer.from(body) });
  agent.send('put', 1, frame.toString('hex'));
}

test('a call goes out through one ring and its reply comes back through the other', async () => {
  expect(client.transport).toBe('shm');
  const call = client.call('users', 'get', 'ring ring', { timeoutMs: 4000 });
  const request = await nextFrame();
  expect(request).toMatchObject({ type: FrameType.request, timeoutMs: 4000 });
  expect(request.body.toString()).toBe('ring ring');
  expect(decodeHeader(request.header)).toMatchObject({ service: 'users', method: 'get' });
  answer(request.idLo, request.idHi, 'heard');
  expect((await call).body.toString()).toBe('heard');
});

test('more than the ring holds waits for room, arrives whole and in order', async () => {
  const calls = Array.from({ length: 40 }, (_, i) => client.call('users', 'put', Buffer.alloc(60_000, i)));
  for (let i = 0; i < 40; i += 1) {
    const request = await nextFrame();
    expect(request.body.equals(Buffer.alloc(60_000, i))).toBe(true);
    answer(request.idLo, request.idHi, String(i));
  }
  const replies = await Promise.all(calls);
  expect(replies.map(({ body }) => body.toString())).toEqual(calls.map((_, i) => String(i)));
});

test('a large body passes a small ring in pieces, both ways, while small calls go on', async () => {
  const body = randomFillSync(Buffer.allocUnsafe(600_000));
  const large = client.call('users', 'put', body);
  const pieces: Buffer[] = [];
  let small: Promise<Reply> | undefined;
  let arrived = 0;
  let id = { idLo: 0, idHi: 0 };
  const put = (fields: FrameFields): void => agent.send('put', 1, encodeFrame(fields).toString('hex'));
  while (arrived < body.length) {
    const { type, idLo, idHi, body: piece, value } = await nextFrame();
    if (pieces.length === 0) {
      expect([type, value]).toEqual([FrameType.request, body.length]);
      id = { idLo, idHi };
      // Asked for in the middle: it does not wait for the credit of the large one.
      small = client.call('users', 'get', 'small');
    } else if (type === FrameType.request) {
      answer(idLo, idHi, 'quick');
      continue;
    }
    pieces.push(piece);
    arrived += piece.length;
    if (arrived === 262_144) put({ type: FrameType.credit, ...id, value: 200_000 });
    if (arrived === 462_144) put({ type: FrameType.credit, ...id, value: 200_000 });
  }
  expect(Buffer.concat(pieces).equals(body)).toBe(true);
  expect((await small!).body.toString()).toBe('quick');
  put({ type: FrameType.response, flags: Flag.more, ...id, value: 100_000, body: body.subarray(0, 60_000) });
  put({ type: FrameType.chunk, flags: Flag.reply, ...id, body: body.subarray(60_000, 100_000) });
  expect((await large).body.equals(body.subarray(0, 100_000))).toBe(true);
});

test('when the agent dies, what was in the ring may have run', async () => {
  const call = client.call('users', 'get', '');
  await nextFrame();
  agent.send('hangup');
  await expect(call).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: true });
});
