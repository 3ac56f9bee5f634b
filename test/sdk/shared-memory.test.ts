// The SDK over real rings: the real addon on this side, an agent in a process of its own on the other.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../src/index.js';
import type { Client } from '../../src/index.js';
import { FrameType, encodeFrame, readFrame } from '../../src/protocol/frame.js';
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

test('when the agent dies, what was in the ring may have run', async () => {
  const call = client.call('users', 'get', '');
  await nextFrame();
  agent.send('hangup');
  await expect(call).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: true });
});
