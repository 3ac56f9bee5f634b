// Bodies over 65,536 bytes between two real SDKs over real sockets in direct mode: every size around the edges and up to
// the default limit, whole and unchanged both ways; limits; many at once beside small calls; ends in the middle.
import { createHash, randomFillSync } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type {
  Client,
  ConnectOptions,
  MeshError,
  MeshRequest,
  ServeOptions,
  Server,
} from '../../src/index.js';

const closing: (Client | Server)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
});

const quiet = { log: () => undefined, backoffMs: { min: 5, max: 20 }, drainTimeoutMs: 5000 };

async function server(methods: ServeOptions['methods'], more: Partial<ServeOptions> = {}): Promise<Server> {
  const made = await serve({ mesh: false, ...quiet, service: 's', methods, ...more });
  closing.push(made);
  return made;
}

async function client({ address }: Server, more: ConnectOptions = {}): Promise<Client> {
  const made = await connect({
    mesh: false,
    ...quiet,
    timeoutMs: 30_000,
    endpoints: { s: [address!] },
    ...more,
  });
  closing.push(made);
  return made;
}

function noise(bytes: number): Buffer {
  return randomFillSync(Buffer.allocUnsafe(bytes));
}

function sum(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const mebibyte = 1024 * 1024;

describe('a body of', () => {
  test.each([0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 1_000_000, 16 * mebibyte, 64 * mebibyte])(
    '%d bytes arrives as it was sent, and comes back so',
    async (bytes) => {
      let seen = '';
      const one = await server({
        echo: (request) => {
          seen = sum(request.body);
          return { body: request.body, attachments: { length: String(request.body.length) } };
        },
      });
      const caller = await client(one);
      const body = noise(bytes);
      const reply = await caller.call('s', 'echo', body, { attachments: { tenant: 'a' } });
      expect(seen).toBe(sum(body));
      expect(sum(reply.body)).toBe(seen);
      expect(reply.body.length).toBe(bytes);
      expect(reply.attachments).toEqual({ length: String(bytes) });
    },
    60_000,
  );

  test('text travels as UTF-8, both ways', async () => {
    const text = 'zürich '.repeat(50_000);
    const caller = await client(await server({ echo: (request) => request.body.toString() }));
    expect((await caller.call('s', 'echo', text)).body.toString()).toBe(text);
  });

  test('a plain Uint8Array that is a view into a larger buffer is sent as the view', async () => {
    const caller = await client(await server({ echo: (request) => request.body }));
    const view = new Uint8Array(noise(400_000).buffer, 100, 300_000);
    expect((await caller.call('s', 'echo', view)).body.equals(view)).toBe(true);
  });

  test('a request is seen by its handler with everything else that belongs to it', async () => {
    let seen: MeshRequest | undefined;
    const one = await server({ put: (request) => void (seen = request) });
    const caller = await client(one, { app: 'shop' });
    await caller.call('s', 'put', noise(300_000), { hashKey: 'k', timeoutMs: 9000, attachments: { a: 'b' } });
    expect(seen).toMatchObject({ service: 's', method: 'put', sourceApp: 'shop', hashKey: 'k' });
    expect(seen!.attachments).toEqual({ a: 'b' });
    expect(seen!.timeoutMs).toBeLessThanOrEqual(9000);
    expect(seen!.timeoutMs).toBeGreaterThan(0);
  });
});

describe('limits', () => {
  test('a request over the maximum of the server is refused before it has come, with proof; smaller ones pass', async () => {
    const one = await server({ echo: (request) => request.body }, { maxBodyBytes: 100_000 });
    const caller = await client(one);
    await expect(caller.call('s', 'echo', noise(100_001))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'a body of 100001 bytes is over the limit of 100000 bytes (maxBodyBytes)',
      mayHaveRun: false,
    });
    await expect(caller.call('s', 'echo', noise(8 * mebibyte))).rejects.toMatchObject({ mayHaveRun: false });
    expect((await caller.call('s', 'echo', noise(100_000))).body).toHaveLength(100_000);
    expect(one.runningRequests).toBe(0);
  });

  test('a reply over the maximum of the client fails its call; the link and other calls stay', async () => {
    const one = await server({ make: (request) => noise(Number(request.body.toString())) });
    const caller = await client(one, { maxBodyBytes: 100_000 });
    await expect(caller.call('s', 'make', '100001')).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'a body of 100001 bytes is over the limit of 100000 bytes (maxBodyBytes)',
      mayHaveRun: true,
    });
    expect((await caller.call('s', 'make', '100000')).body).toHaveLength(100_000);
  });

  test('what no frame can say the length of is refused with proof', async () => {
    const one = await server({
      echo: (request) => request.body,
      huge: () => Object.defineProperty(new Uint8Array(1), 'length', { value: 2 ** 32 }),
    });
    const caller = await client(one);
    const huge = Object.defineProperty(new Uint8Array(1), 'length', { value: 2 ** 32 });
    await expect(caller.call('s', 'echo', huge)).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'a body of 4294967296 bytes is over the limit of 4294967295 bytes',
      mayHaveRun: false,
      retryable: false,
    });
    await expect(caller.call('s', 'huge', '')).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'an answer of 4294967296 bytes is over the limit of 4294967295 bytes',
      mayHaveRun: true,
    });
  });

  test('one-way requests are not streamed', async () => {
    const caller = await client(await server({ echo: () => '' }));
    await expect(caller.send('s', 'echo', noise(65_537))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'a one-way body of 65537 bytes is over the limit of 65536 bytes',
      mayHaveRun: false,
    });
  });

  test('an unknown method, a full server: refused before the body has come, with proof', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const one = await server({ hold: () => held.then(() => '') }, { maxConcurrentRequests: 1 });
    const caller = await client(one);
    await expect(caller.call('s', 'absent', noise(mebibyte))).rejects.toMatchObject({
      status: 'UNIMPLEMENTED',
      mayHaveRun: false,
    });
    const first = caller.call('s', 'hold', noise(mebibyte));
    await expect(caller.call('s', 'hold', noise(mebibyte))).rejects.toMatchObject({
      message: '1 requests run at once (maxConcurrentRequests)',
      mayHaveRun: false,
    });
    release();
    await first;
  });

  test('more streams than a link carries at a time wait their turn', async () => {
    const one = await server({ echo: (request) => request.body }, { maxStreams: 2 });
    const caller = await client(one, { maxStreams: 2 });
    const bodies = Array.from({ length: 9 }, (_, i) => noise(200_000 + i));
    const replies = await Promise.all(bodies.map((body) => caller.call('s', 'echo', body)));
    expect(replies.map(({ body }) => sum(body))).toEqual(bodies.map(sum));
  });
});

describe('many at once', () => {
  test('100 large calls and 1,000 small ones on one link: each gets its own answer', async () => {
    const one = await server({ echo: (request) => request.body });
    const caller = await client(one);
    const large = Array.from({ length: 100 }, (_, i) => noise(300_000 + i * 17_777));
    const largeCalls = large.map((body) => caller.call('s', 'echo', body));
    const smallCalls = Array.from({ length: 1000 }, (_, i) => caller.call('s', 'echo', `small ${i}`));
    const wrong = (await Promise.all(smallCalls)).filter(({ body }, i) => body.toString() !== `small ${i}`);
    expect(wrong).toEqual([]);
    const replies = await Promise.all(largeCalls);
    expect(replies.map(({ body }) => sum(body))).toEqual(large.map(sum));
  }, 60_000);

  test('small calls are answered while large ones are on their way', async () => {
    const caller = await client(await server({ echo: (request) => request.body }));
    let largeLeft = 16;
    const large = Array.from({ length: largeLeft }, () =>
      caller.call('s', 'echo', noise(8 * mebibyte)).finally(() => (largeLeft -= 1)),
    );
    let between = 0;
    while (largeLeft > 0) {
      await caller.call('s', 'echo', 'x');
      if (largeLeft > 0) between += 1;
    }
    await Promise.all(large);
    expect(between).toBeGreaterThanOrEqual(10);
  }, 60_000);
});

describe('an end in the middle', () => {
  test('aborted while the body leaves: cancelled with proof, the server lets go of it, and the link goes on', async () => {
    const one = await server({ echo: (request) => request.body });
    const caller = await client(one);
    const controller = new AbortController();
    const call = caller.call('s', 'echo', noise(64 * mebibyte), { signal: controller.signal });
    while (one.runningRequests === 0) await turn();
    controller.abort(new Error('enough'));
    await expect(call).rejects.toMatchObject({
      status: 'CANCELLED',
      message: 'cancelled: enough',
      mayHaveRun: false,
    });
    expect((await caller.call('s', 'echo', 'after')).body.toString()).toBe('after');
    expect(one.runningRequests).toBe(0);
  });

  test('aborted while the reply comes: cancelled with doubt, and the link goes on', async () => {
    let aborted = false;
    const one = await server({ make: () => noise(64 * mebibyte), echo: (request) => request.body });
    const caller = await client(one);
    const controller = new AbortController();
    const call = caller.call('s', 'make', '', { signal: controller.signal });
    call.catch(() => (aborted = true));
    // Answered on the same link: the handler of `make` has run by then, and its reply is under way.
    await caller.call('s', 'echo', '');
    expect(aborted).toBe(false);
    controller.abort();
    await expect(call).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: true });
    expect((await caller.call('s', 'make', '')).body).toHaveLength(64 * mebibyte);
  }, 30_000);

  test('a deadline in the middle of either body', async () => {
    const one = await server({ echo: (request) => request.body });
    const caller = await client(one);
    const error = await caller
      .call('s', 'echo', noise(64 * mebibyte), { timeoutMs: 5 })
      .catch((thrown: MeshError) => thrown);
    expect(error).toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect((await caller.call('s', 'echo', 'after')).body.toString()).toBe('after');
    expect(one.runningRequests).toBe(0);
  });

  test('the server closes gracefully: what is under way in both directions comes whole', async () => {
    const one = await server({ make: () => noise(16 * mebibyte), echo: (request) => request.body });
    const caller = await client(one);
    await caller.call('s', 'echo', '');
    const up = caller.call('s', 'echo', noise(16 * mebibyte));
    const down = caller.call('s', 'make', '');
    while (one.runningRequests === 0) await turn();
    await one.close();
    expect((await up).body).toHaveLength(16 * mebibyte);
    expect((await down).body).toHaveLength(16 * mebibyte);
  }, 30_000);

  test('the client closes gracefully: its calls end first', async () => {
    const caller = await client(await server({ echo: (request) => request.body }));
    const call = caller.call('s', 'echo', noise(16 * mebibyte));
    await caller.close();
    expect((await call).body).toHaveLength(16 * mebibyte);
  }, 30_000);

  test('a body that its owner takes away while it is being sent fails its own call only', async () => {
    const one = await server({ echo: (request) => request.body });
    const caller = await client(one);
    const body = new Uint8Array(32 * mebibyte);
    const call = caller.call('s', 'echo', body);
    const failed = expect(call).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      message: 'the body was changed while it was being sent',
      mayHaveRun: false,
    });
    while (one.runningRequests === 0) await turn();
    structuredClone(body, { transfer: [body.buffer] });
    await failed;
    expect((await caller.call('s', 'echo', 'after')).body.toString()).toBe('after');
    expect(one.runningRequests).toBe(0);
  });
});
