// The SDK and an agent that lies. For seeded rounds the agent answers calls with what no agent would send, and sends to servers what no agent
// would ask. Each call settles with a reply or a MeshError, nothing escapes as an unhandled error, memory stays bounded, and as soon
// as the agent is itself again calls and handlers work as before.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MeshError, connect, serve } from '../../src/index.js';
import type { Client, Server } from '../../src/index.js';
import { encodeFrame, FrameType } from '../../src/protocol/frame.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';
import { misdeed } from '../support/hostile/misdeeds.js';
import { RandomSource, numberFrom } from '../support/random-source.js';

const seed = numberFrom('RINGSIDE_HOSTILE_SEED', 20);
const rounds = numberFrom('RINGSIDE_HOSTILE_ROUNDS', 250);
const heapGrowthBytes = 64 * 1024 * 1024;

let agent: FakeAgent;
let client: Client | undefined;
let server: Server | undefined;
const escaped: unknown[] = [];
const note = (error: unknown): void => void escaped.push(error);

beforeEach(async () => {
  agent = await FakeAgent.start({ unix: true });
  escaped.length = 0;
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
});

afterEach(async () => {
  await client?.close();
  await server?.close();
  await agent.stop();
  process.off('unhandledRejection', note);
  process.off('uncaughtException', note);
  client = server = undefined;
});

const options = () => ({
  app: 'shop',
  agent: agent.path,
  transport: 'unix' as const,
  backoffMs: { min: 1, max: 4 },
  drainTimeoutMs: 500,
  log: () => undefined,
});

/** Resolves when there is a link again. */
function connected(one: Client): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (one.transport !== 'none') resolve();
      else one.once('transport', look);
    };
    look();
  });
}

/** Whether a whole frame may follow these bytes: else what follows is taken for the rest of the one that was begun. */
function endsBetweenFrames(bytes: Buffer): boolean {
  const parser = new FrameParser();
  return parser.push(bytes, () => undefined) === undefined && parser.partialBytes === 0;
}

/** Until a call succeeds: the link may just be coming back. */
async function callUntilServed(call: () => Promise<string>, wanted: string): Promise<void> {
  for (;;) {
    const outcome = await call().catch((error: unknown) => {
      if (!(error instanceof MeshError)) throw error;
      return undefined;
    });
    if (outcome === wanted) return;
  }
}

test(`calls settle, whatever their agent answers (seed ${seed})`, { timeout: 120_000 }, async () => {
  const random = new RandomSource(seed);
  client = await connect(options());
  const outcomes = new Map<string, number>();
  const heapBefore = process.memoryUsage().heapUsed;
  for (let round = 0; round < rounds; round += 1) {
    const did: string[] = [];
    agent.onRequest = (link, request) => {
      const times = 1 + random.below(2);
      for (let i = 0; i < times; i += 1) {
        const { name, bytes } = misdeed(random, request);
        did.push(name);
        const cut = random.oneIn(3) ? random.below(bytes.length + 1) : bytes.length;
        link.socket.write(bytes.subarray(0, cut));
        link.socket.write(bytes.subarray(cut));
      }
      const end = random.below(4);
      if (end < 2) link.reply(request, { body: Buffer.from('late') });
      if (end === 2) link.socket.end();
    };
    const one = client;
    await connected(one);
    const calls = Array.from({ length: 1 + random.below(4) }, () =>
      one.call('s', 'm', Buffer.alloc(random.oneIn(3) ? 300_000 : 10), { timeoutMs: 60 }).then(
        () => 'OK',
        (error: unknown) =>
          error instanceof MeshError ? error.status : `NOT A MESH ERROR: ${String(error)}`,
      ),
    );
    for (const outcome of await Promise.all(calls)) {
      expect(outcome, `round ${round} of seed ${seed}: ${did.join(', ')}`).not.toMatch(/^NOT/);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(escaped, `round ${round} of seed ${seed}: ${did.join(', ')}`).toEqual([]);
  }
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(heapGrowthBytes);
  expect(outcomes.size, [...outcomes].join(' ')).toBeGreaterThan(2);

  agent.onRequest = (link, request) => link.reply(request, { body: Buffer.from('honest') });
  await callUntilServed(async () => {
    await connected(client!);
    return (await client!.call('s', 'm', 'x', { timeoutMs: 500 })).body.toString();
  }, 'honest');
});

test(`a server serves on, whatever its agent asks (seed ${seed})`, { timeout: 120_000 }, async () => {
  const random = new RandomSource(seed + 1);
  let running = 0;
  let most = 0;
  server = await serve({
    ...options(),
    service: 'served',
    methods: {
      echo: (request) => request.body,
      never: (request) =>
        new Promise((_resolve, reject) => {
          running += 1;
          most = Math.max(most, running);
          request.signal.addEventListener('abort', () => {
            running -= 1;
            reject(new Error('told to stop'));
          });
        }),
    },
  });
  const heapBefore = process.memoryUsage().heapUsed;
  const publisher = () => agent.waitFor(() => agent.publications.find(({ link }) => !link.closed)?.link);
  const askHonestly = async (round: number): Promise<string> => {
    const link = await publisher();
    const idLo = 5_000_000 + round;
    link.send({
      type: FrameType.request,
      idLo,
      header: encodeHeader({ service: 'served', method: 'echo' }),
      body: Buffer.from('hi'),
      timeoutMs: 5000,
    });
    const reply = await agent.waitFor(
      () => link.of(FrameType.response).find((frame) => frame.idLo === idLo) ?? (link.closed && 'closed'),
    );
    if (reply === 'closed') throw new MeshError('UNAVAILABLE', 'the link closed meanwhile');
    return reply.body.toString();
  };
  for (let round = 0; round < rounds; round += 1) {
    const link = await publisher();
    const { name, bytes } = misdeed(random, { idLo: random.below(20), idHi: 0 });
    link.socket.write(bytes);
    if (random.oneIn(10)) link.socket.end();
    else if (!endsBetweenFrames(bytes)) link.socket.end();
    await callUntilServed(() => askHonestly(round), 'hi');
    expect(escaped, `round ${round} of seed ${seed}: ${name}`).toEqual([]);
  }
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(heapGrowthBytes);
  expect(most).toBeGreaterThan(0);
  // The handlers of links that are gone were told to stop.
  for (const { socket } of agent.openLinks) socket.destroy();
  await publisher();
  await callUntilServed(() => askHonestly(rounds), 'hi');
  expect(running).toBe(0);
});

test('welcomes that are none never look like a connection', { timeout: 60_000 }, async () => {
  const random = new RandomSource(seed + 2);
  for (let round = 0; round < 60; round += 1) {
    const { bytes } = misdeed(random, { idLo: 0, idHi: 0 });
    // A welcome that is one by accident.
    if (bytes[3] === FrameType.welcome) bytes[3] = FrameType.hello;
    agent.insteadOfWelcome = random.oneIn(3)
      ? encodeFrame({ type: FrameType.welcome, status: 1 + random.below(16), header: random.bytes(30) })
      : bytes;
    const outcome = await connect({ ...options(), connectTimeoutMs: 50 }).then(
      async (one) => {
        await one.close();
        return 'connected';
      },
      (error: unknown) => (error instanceof MeshError ? 'refused' : String(error)),
    );
    expect(outcome, `round ${round} of seed ${seed}`).toBe('refused');
  }
  expect(escaped).toEqual([]);
});
