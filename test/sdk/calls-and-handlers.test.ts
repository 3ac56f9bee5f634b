// Calls and handlers through a (fake) agent on a unix socket: replies, failures, deadlines, cancellation, bounds,
// what a nested call inherits, and the graceful end of a server.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MeshError, connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, MeshRequest, ServeOptions, Server } from '../../src/index.js';
import { FrameType } from '../../src/protocol/frame.js';
import { decodeHeader, encodeHeader } from '../../src/protocol/header.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';

let agent: FakeAgent;
let lines: string[] = [];
const closing: (Client | Server)[] = [];

beforeEach(async () => {
  lines = [];
  agent = await FakeAgent.start({ unix: true });
});

afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
  await agent.stop();
});

function options(): ConnectOptions {
  return {
    agent: agent.path,
    transport: 'unix',
    backoffMs: { min: 5, max: 20 },
    drainTimeoutMs: 2000,
    log: (level, message) => lines.push(`${level} ${message}`),
  };
}

async function client(more: ConnectOptions = {}): Promise<Client> {
  const made = await connect({ ...options(), app: 'shop', ...more });
  closing.push(made);
  return made;
}

async function server(methods: ServeOptions['methods'], more: Partial<ServeOptions> = {}): Promise<Server> {
  const made = await serve({ ...options(), app: 'users-app', service: 'users', methods, ...more });
  closing.push(made);
  return made;
}

function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** The next turn of the event loop. */
const turn = (): Promise<undefined> => new Promise((resolve) => setImmediate(() => resolve(undefined)));
const never = (): Promise<never> => new Promise(() => undefined);

describe('a call', () => {
  test('carries everything to the handler, and the answer back', async () => {
    let seen: MeshRequest | undefined;
    await server({
      get: (request) => {
        seen = request;
        return { body: 'Ada', attachments: { region: 'zürich' } };
      },
    });
    const caller = await client();
    const reply = await caller.call('users', 'get', Buffer.from([0, 255]), {
      timeoutMs: 900,
      hashKey: 'k7',
      group: 'blue',
      version: '2',
      contentType: 'application/octet-stream',
      attachments: { tenant: 'a' },
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'x=y',
    });
    expect(reply.body.toString()).toBe('Ada');
    expect(reply.attachments).toEqual({ region: 'zürich' });
    expect(seen).toMatchObject({
      service: 'users',
      method: 'get',
      group: 'blue',
      version: '2',
      sourceApp: 'shop',
      hashKey: 'k7',
      contentType: 'application/octet-stream',
      attachments: { tenant: 'a' },
      tracestate: 'x=y',
      oneWay: false,
    });
    expect([...seen!.body]).toEqual([0, 255]);
    expect(seen!.traceparent).toMatch(/^00-0af7/);
    expect(seen!.timeoutMs).toBeGreaterThan(0);
    expect(seen!.timeoutMs).toBeLessThanOrEqual(900);
    expect(Math.abs(seen!.deadline.getTime() - Date.now())).toBeLessThan(1000);
  });

  test('many at once come back to their own callers, bodies whole', async () => {
    await server({ echo: async (request) => request.body });
    const caller = await client();
    const sizes = Array.from({ length: 500 }, (_, i) => (i * 131) % 5000);
    const replies = await Promise.all(
      sizes.map((size, i) => caller.call('users', 'echo', Buffer.alloc(size, i % 251))),
    );
    const wrong = replies.filter(({ body }, i) => !body.equals(Buffer.alloc(sizes[i]!, i % 251)));
    expect(wrong).toEqual([]);
  });

  test('with the largest body of one frame passes; a one-way request has to fit one', async () => {
    await server({ echo: (request) => request.body });
    const caller = await client();
    const body = Buffer.alloc(65_536, 7);
    expect((await caller.call('users', 'echo', body)).body.equals(body)).toBe(true);
    await expect(caller.send('users', 'echo', Buffer.alloc(65_537))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'a one-way body of 65537 bytes is over the limit of 65536 bytes',
      mayHaveRun: false,
      retryable: false,
    });
  });

  test('what is wrong with its arguments is INVALID_ARGUMENT, with proof, and breaks nothing', async () => {
    await server({ echo: (request) => request.body });
    const caller = await client();
    const bad: [string, string, unknown, object][] = [
      ['', 'm', '', {}],
      ['s'.repeat(257), 'm', '', {}],
      ['s', 'm'.repeat(257), '', {}],
      ['s', 5 as unknown as string, '', {}],
      ['s', 'm', 5, {}],
      ['s', 'm', undefined, {}],
      ['s', 'm', '', { timeoutMs: 0 }],
      ['s', 'm', '', { timeoutMs: Number.NaN }],
      ['s', 'm', '', { timeoutMs: Infinity }],
      ['s', 'm', '', { hashKey: 'x'.repeat(20_000) }],
      ['s', 'm', '', { attachments: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, ''])) }],
      ['s', 'm', '', { attachments: { a: 5 } }],
    ];
    for (const [service, method, body, more] of bad) {
      const invalid = { status: 'INVALID_ARGUMENT', mayHaveRun: false };
      await expect(caller.call(service, method, body as string, more)).rejects.toMatchObject(invalid);
      await expect(caller.send(service, method, body as string, more)).rejects.toMatchObject(invalid);
    }
    expect((await caller.call('users', 'echo', 'fine')).body.toString()).toBe('fine');
  });
});

describe('failures of handlers', () => {
  test.each<[string, () => unknown, object]>([
    [
      'MeshError',
      () => {
        throw new MeshError('NOT_FOUND', 'no user 7');
      },
      { status: 'NOT_FOUND', message: 'no user 7', mayHaveRun: true },
    ],
    [
      'MeshError with proof, which cannot be about a request that runs',
      () => {
        throw new MeshError('ABORTED', 'x', { mayHaveRun: false });
      },
      { status: 'ABORTED', message: 'x', mayHaveRun: true },
    ],
    [
      'rejection with such a proof',
      () => Promise.reject(new MeshError('UNAVAILABLE', 'later', { mayHaveRun: false })),
      { status: 'UNAVAILABLE', message: 'later', mayHaveRun: true },
    ],
    [
      'Error',
      () => {
        throw new Error('boom');
      },
      { status: 'UNKNOWN', message: 'boom' },
    ],
    ['rejection', () => Promise.reject(new Error('later')), { status: 'UNKNOWN', message: 'later' }],
    [
      'string',
      () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- callers in JavaScript do this
        throw 'thrown text';
      },
      { status: 'UNKNOWN', message: 'thrown text' },
    ],
    [
      'long text',
      () => {
        throw new Error('ü'.repeat(9000));
      },
      { status: 'UNKNOWN', message: 'ü'.repeat(4000) },
    ],
    ['number as answer', () => 5, { status: 'INTERNAL', message: 'a handler answered a number' }],
    [
      'a promise that breaks',
      () => ({
        get then() {
          throw new Error('no then');
        },
      }),
      { status: 'UNKNOWN', message: 'no then' },
    ],
    ['null as answer', () => null, { status: 'INTERNAL' }],
    ['no body', () => ({ body: 5 }), { status: 'INTERNAL', message: 'a handler answered no body' }],
    [
      'too many attachments',
      () => ({ attachments: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, ''])) }),
      { status: 'INTERNAL' },
    ],
  ])('%s', async (_name, handler, expected) => {
    await server({ get: handler as () => string });
    const caller = await client();
    const error = await caller.call('users', 'get', '').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MeshError);
    expect(error).toMatchObject(expected);
    expect((error as MeshError).message).not.toMatch(/\n\s+at /);
  });

  test('the failure of a nested call is that of the handler: its proof stays there', async () => {
    const nested: unknown[] = [];
    const serving: Server = await server({
      place: async () => {
        const call = serving.client.call('stock', 'take', '');
        call.catch((error: unknown) => nested.push(error));
        return (await call).body;
      },
    });
    const caller = await client();
    await expect(caller.call('users', 'place', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      message: 'no endpoint',
      mayHaveRun: true,
    });
    expect(nested).toMatchObject([{ status: 'UNAVAILABLE', message: 'no endpoint', mayHaveRun: false }]);
  });

  test('an unknown method and an unknown service did not run', async () => {
    await server({ get: () => '' });
    const caller = await client();
    await expect(caller.call('users', 'drop', '')).rejects.toMatchObject({
      status: 'UNIMPLEMENTED',
      message: 'service users has no method drop',
      mayHaveRun: false,
    });
    await expect(caller.call('users', 'constructor', '')).rejects.toMatchObject({ status: 'UNIMPLEMENTED' });
    const link = agent.publications[0]!.link;
    link.send({
      type: FrameType.request,
      idLo: 900,
      header: encodeHeader({ service: 'other', method: 'm' }),
    });
    link.send({ type: FrameType.request, idLo: 901, header: Buffer.from([0x08, 1]) });
    link.send({ type: FrameType.request, idLo: 902 });
    const answers = await agent.waitFor(() => {
      const found = link.of(FrameType.response).filter((frame) => frame.idLo >= 900);
      return found.length === 3 && found;
    });
    expect(answers.map(({ status, flags }) => [status, flags])).toEqual([
      [14, 2],
      [3, 2],
      [3, 2],
    ]);
  });

  test('one handler may serve every method', async () => {
    await server((request) => `called ${request.method}`);
    const caller = await client();
    expect((await caller.call('users', 'anything', '')).body.toString()).toBe('called anything');
    expect(JSON.parse(agent.publications[0]!.body)).toEqual({ service: 'users' });
  });
});

describe('deadlines and cancellation', () => {
  test('a handler that never answers: the caller gets DEADLINE_EXCEEDED, the server frees its state', async () => {
    const aborted = deferred<unknown>();
    const serving = await server({
      hang: (request) => {
        request.signal.addEventListener('abort', () => aborted.resolve(request.signal.reason));
        return never();
      },
    });
    const caller = await client();
    await expect(caller.call('users', 'hang', '', { timeoutMs: 20 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
      mayHaveRun: true,
    });
    expect(await aborted.promise).toBeInstanceOf(MeshError);
    expect(serving.runningRequests).toBe(0);
  });

  test('without a caller that watches, the server itself answers at the deadline', async () => {
    await server({ hang: never });
    const link = agent.publications[0]!.link;
    const header = encodeHeader({ service: 'users', method: 'hang' });
    link.send({ type: FrameType.request, idLo: 900, timeoutMs: 15, header });
    const answer = await agent.waitFor(() => link.of(FrameType.response).find((frame) => frame.idLo === 900));
    expect(answer).toMatchObject({ status: 4, flags: 0 });
    expect(decodeHeader(answer.header).statusMessage).toContain('before the deadline');
  });

  test('a request that states no deadline gets the default one', async () => {
    const serving = await server({ hang: never }, { defaultTimeoutMs: 15 });
    const link = agent.publications[0]!.link;
    link.send({
      type: FrameType.request,
      idLo: 900,
      header: encodeHeader({ service: 'users', method: 'hang' }),
    });
    await agent.waitFor(() => link.of(FrameType.response).find((frame) => frame.status === 4));
    expect(serving.runningRequests).toBe(0);
  });

  test('aborting cancels at the other side; its signal tells, whether asked for before or after', async () => {
    const started = deferred<MeshRequest>();
    const told = deferred();
    const serving = await server({
      hang: (request) => {
        request.signal.addEventListener('abort', () => told.resolve());
        started.resolve(request);
        return never();
      },
      ping: () => '',
      late: (request) => {
        started2.resolve(request);
        return never();
      },
    });
    const started2 = deferred<MeshRequest>();
    const caller = await client();
    const controller = new AbortController();
    const call = caller.call('users', 'hang', '', { signal: controller.signal });
    await started.promise;
    controller.abort(new Error('user left'));
    await expect(call).rejects.toMatchObject({
      status: 'CANCELLED',
      message: 'cancelled: user left',
      mayHaveRun: true,
    });
    await told.promise;
    expect(serving.runningRequests).toBe(0);

    const second = new AbortController();
    const call2 = caller.call('users', 'late', '', { signal: second.signal });
    const request = await started2.promise;
    second.abort();
    await expect(call2).rejects.toMatchObject({ status: 'CANCELLED' });
    // On the same two links, so the cancel was there before.
    await caller.call('users', 'ping', '');
    expect(serving.runningRequests).toBe(0);
    expect(request.signal.aborted).toBe(true);
  });

  test('the other side is told whether the caller gave up or its deadline passed', async () => {
    await server({ hang: never });
    const caller = await client();
    const link = agent.links.find(({ header }) => header!.sourceApp === 'shop')!;
    await expect(caller.call('users', 'hang', '', { timeoutMs: 20 })).rejects.toMatchObject({ code: 4 });
    await agent.waitFor(() => link.of(FrameType.cancel).length === 1);
    const controller = new AbortController();
    const call = caller.call('users', 'hang', '', { signal: controller.signal });
    await agent.waitFor(() => link.of(FrameType.request).length === 2);
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 1 });
    await agent.waitFor(() => link.of(FrameType.cancel).length === 2);
    expect(link.of(FrameType.cancel).map(({ status }) => status)).toEqual([4, 1]);
  });

  test.each([
    ['a deadline', 4, 'DEADLINE_EXCEEDED'],
    ['a caller that gave up', 1, 'CANCELLED'],
    ['a caller that does not say why', 0, 'CANCELLED'],
  ])('a handler is told of %s', async (_why, status, expected) => {
    const request = deferred<MeshRequest>();
    const reason = deferred<unknown>();
    await server({
      hang: (given) => {
        given.signal.addEventListener('abort', () => reason.resolve(given.signal.reason));
        request.resolve(given);
        return never();
      },
    });
    const link = agent.publications[0]!.link;
    const header = encodeHeader({ service: 'users', method: 'hang' });
    link.send({ type: FrameType.request, idLo: 900, timeoutMs: 60_000, header });
    await request.promise;
    link.send({ type: FrameType.cancel, idLo: 900, status });
    expect(await reason.promise).toMatchObject({ status: expected });
  });

  test('a signal that is aborted already sends nothing; one that outlives its call is let go', async () => {
    await server({ get: () => '' });
    const caller = await client();
    const aborted = caller.call('users', 'get', '', { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: false });
    const controller = new AbortController();
    await caller.call('users', 'get', '', { signal: controller.signal });
    controller.abort();
    await caller.call('users', 'get', '');
    const link = agent.links.find((candidate) => candidate.header!.sourceApp === 'shop')!;
    expect(link.of(FrameType.request)).toHaveLength(2);
    expect(link.of(FrameType.cancel)).toHaveLength(0);
  });

  test('when the link is lost, handlers are told', async () => {
    const started = deferred();
    const told = deferred<string>();
    await server({
      hang: (request) => {
        request.signal.addEventListener('abort', () =>
          told.resolve((request.signal.reason as MeshError).message),
        );
        started.resolve();
        return never();
      },
    });
    const caller = await client();
    const call = caller.call('users', 'hang', '');
    await started.promise;
    agent.publications[0]!.link.socket.destroy();
    expect(await told.promise).toContain('the link is lost');
    for (const link of agent.links) link.socket.destroy();
    await expect(call).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: true });
  });

  test('a call inside a handler inherits deadline and trace', async () => {
    const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const inner = deferred<MeshRequest>();
    const serving: Server = await server({
      outer: async (request) => {
        await Promise.resolve();
        const { body } = await serving.client.call('users', 'inner', '', { timeoutMs: 60_000 });
        expect(request.timeoutMs).toBeGreaterThan(0);
        return body;
      },
      inner: (request) => {
        inner.resolve(request);
        return 'deep';
      },
      spent: async (request) => {
        await new Promise((resolve) => request.signal.addEventListener('abort', resolve));
        afterwards.resolve(
          await serving.client.call('users', 'inner', '').catch((error: MeshError) => error),
        );
      },
    });
    const afterwards = deferred<unknown>();
    const caller = await client();
    const reply = await caller.call('users', 'outer', '', {
      timeoutMs: 800,
      traceparent: trace,
      tracestate: 'a=b',
    });
    expect(reply.body.toString()).toBe('deep');
    const seen = await inner.promise;
    expect(seen).toMatchObject({ traceparent: trace, tracestate: 'a=b' });
    expect(seen.deadline.getTime()).toBeLessThanOrEqual(Date.now() + 800);
    const link = agent.publications[0]!.link;
    const header = encodeHeader({ service: 'users', method: 'spent' });
    link.send({ type: FrameType.request, idLo: 900, timeoutMs: 10, header });
    expect(await afterwards.promise).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
  });
});

describe('one-way', () => {
  test('arrives, is never answered, and its failure is only logged', async () => {
    const arrived = deferred<MeshRequest>();
    await server({
      note: (request) => {
        arrived.resolve(request);
        return 'ignored';
      },
      fail: () => {
        throw new Error('nobody hears');
      },
    });
    const caller = await client();
    await caller.send('users', 'fail', '');
    await caller.send('users', 'absent', '');
    await caller.send('users', 'note', 'x', { timeoutMs: 700 });
    const request = await arrived.promise;
    expect(request.oneWay).toBe(true);
    expect(request.timeoutMs).toBeLessThanOrEqual(700);
    await caller.call('users', 'fail', '').catch(() => undefined);
    expect(agent.publications[0]!.link.of(FrameType.response)).toHaveLength(1);
    expect(lines).toContain('warn one-way failed: nobody hears');
    expect(lines).toContain('debug one-way refused: service users has no method absent');
  });
});

describe('bounds', () => {
  test('requests at once', async () => {
    const open = deferred();
    const serving = await server({ wait: () => open.promise.then(() => '') }, { maxConcurrentRequests: 2 });
    const caller = await client();
    const two = [caller.call('users', 'wait', ''), caller.call('users', 'wait', '')];
    await expect(caller.call('users', 'wait', '')).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: '2 requests run at once (maxConcurrentRequests)',
      mayHaveRun: false,
    });
    expect(serving.runningRequests).toBe(2);
    open.resolve();
    await Promise.all(two);
    await caller.call('users', 'wait', '');
  });

  test('requests at once are shared out: a caller whose requests are slow leaves room for others', async () => {
    const open = deferred();
    const serving = await server(
      { wait: () => open.promise.then(() => ''), quick: () => 'served' },
      { maxConcurrentRequests: 20 },
    );
    const [greedy, honest] = [await client({ app: 'greedy' }), await client({ app: 'honest' })];
    const waiting = Array.from({ length: 40 }, () =>
      greedy.call('users', 'wait', '').then(
        () => undefined,
        (error: unknown) => error as MeshError,
      ),
    );
    expect((await honest.call('users', 'quick', '')).body.toString()).toBe('served');
    expect(serving.runningRequests).toBeGreaterThan(12);
    open.resolve();
    const refused = (await Promise.all(waiting)).filter((error) => error !== undefined);
    expect(refused.length).toBeGreaterThan(20);
    for (const { status, message, mayHaveRun } of refused) {
      expect([status, mayHaveRun]).toEqual(['RESOURCE_EXHAUSTED', false]);
      expect(message).toContain('maxConcurrentRequests');
    }
    // What ended is counted no more.
    await Promise.all(Array.from({ length: 15 }, () => greedy.call('users', 'wait', '')));
  });

  test('pending calls', async () => {
    const held: (() => void)[] = [];
    agent.onRequest = (link, request) => void held.push(() => link.reply(request));
    const caller = await client({ maxPendingCalls: 3 });
    const three = [1, 2, 3].map(() => caller.call('s', 'm', ''));
    await expect(caller.call('s', 'm', '')).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: '3 calls are pending on this link (maxPendingCalls)',
      mayHaveRun: false,
    });
    await agent.waitFor(() => held.length === 3);
    held.forEach((answer) => answer());
    await Promise.all(three);
  });

  test('outbound bytes; what never left is given up with proof, also at its deadline', async () => {
    const caller = await client({ maxOutboundBytes: 4 * 1024 * 1024 });
    const link = agent.openLinks[0]!;
    link.socket.pause();
    const body = Buffer.alloc(65_536);
    const calls: Promise<unknown>[] = [];
    let refusal: MeshError | undefined;
    while (refusal === undefined) {
      const call = caller.call('s', 'm', body, { timeoutMs: 60_000 }).catch((error: MeshError) => error);
      calls.push(call);
      refusal = await Promise.race([call as Promise<MeshError>, turn()]);
    }
    expect(refusal).toMatchObject({ status: 'RESOURCE_EXHAUSTED', mayHaveRun: false });
    expect(refusal.message).toBe('4194304 bytes wait on this link (maxOutboundBytes)');
    const expired = await caller
      .call('s', 'm', 'small', { timeoutMs: 10 })
      .catch((error: MeshError) => error);
    expect(expired).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
    link.socket.destroy();
    const errors = (await Promise.all(calls)) as MeshError[];
    const unavailable = errors.filter((error) => error.status === 'UNAVAILABLE');
    expect(unavailable.length).toBe(errors.length - 1);
    const doubts = unavailable.map((error) => error.mayHaveRun);
    expect(doubts[0]).toBe(true);
    expect(doubts.at(-1)).toBe(false);
    expect(doubts).toEqual([...doubts].sort().reverse());
  });

  test('a request recalled at its deadline never reaches a handler', async () => {
    agent.onRequest = (link, request) => link.reply(request);
    const caller = await client();
    const link = agent.openLinks[0]!;
    link.socket.pause();
    const fill: Promise<unknown>[] = [];
    for (let i = 0; i < 100; i += 1) fill.push(caller.call('s', 'fill', Buffer.alloc(65_536)));
    await turn();
    await expect(caller.call('s', 'recalled', 'x', { timeoutMs: 10 })).rejects.toMatchObject({
      mayHaveRun: false,
    });
    link.socket.resume();
    await Promise.all(fill);
    await caller.call('s', 'last', '');
    const methods = new Set(link.of(FrameType.request).map((frame) => decodeHeader(frame.header).method));
    expect([...methods]).toEqual(['fill', 'last']);
    expect(link.of(FrameType.cancel)).toHaveLength(1);
  });
});

describe('closing', () => {
  test('a server withdraws, finishes what runs, and only then leaves', async () => {
    const open = deferred();
    const started = deferred();
    const serving = await server({
      slow: async () => {
        started.resolve();
        await open.promise;
        return 'finished';
      },
    });
    const caller = await client();
    const call = caller.call('users', 'slow', '');
    await started.promise;
    const { link } = agent.publications[0]!;
    const closed = serving.close();
    expect(serving.close()).toBe(closed);
    await agent.waitFor(() => agent.calls.includes('unpublish users'));
    await expect(caller.call('users', 'slow', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    expect(link.closed).toBe(false);
    open.resolve();
    expect((await call).body.toString()).toBe('finished');
    await closed;
    await agent.waitFor(() => link.closed);
    await expect(serving.client.call('users', 'slow', '')).rejects.toMatchObject({
      message: 'the client is closed',
    });
  });

  test('an agent that never confirms, and a handler that never ends, hold it up no longer than the drain timeout', async () => {
    const started = deferred();
    const serving = await server(
      {
        hang: () => {
          started.resolve();
          return never();
        },
      },
      { drainTimeoutMs: 20 },
    );
    agent.answersUnpublish = false;
    const caller = await client();
    const call = caller.call('users', 'hang', '', { timeoutMs: 100 });
    call.catch(() => undefined);
    await started.promise;
    await serving.close();
    expect(lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn the agent did not confirm the end of the publication: the deadline passed before the reply came',
      'warn closing while 1 requests still run',
    ]);
    await expect(call).rejects.toBeInstanceOf(MeshError);
  });

  test('a client lets its calls finish; then it is closed for good', async () => {
    const held: (() => void)[] = [];
    agent.onRequest = (link, request) =>
      void held.push(() => link.reply(request, { body: Buffer.from('x') }));
    const caller = await client();
    const call = caller.call('s', 'm', '');
    await agent.waitFor(() => held.length === 1);
    const closed = caller.close();
    await expect(caller.call('s', 'm', '')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    held[0]!();
    expect((await call).body.toString()).toBe('x');
    await closed;
    expect(caller.transport).toBe('none');
    await agent.waitFor(() => agent.openLinks.length === 0);
  });

  test('a publication that the agent refuses fails serve with its words', async () => {
    agent.refusePublish = { status: 7, text: 'not for you' };
    await expect(server({ get: () => '' })).rejects.toThrow('no agent can be reached: unix: not for you');
    await agent.waitFor(() => agent.openLinks.length === 0);
  });
});
