// Streamed bodies against peers that withhold credit, break the rules or die in the middle, in direct mode: what the
// other end says, what it frees, and that nothing else on the link suffers.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, ServeOptions, Server } from '../../src/index.js';
import { Flag, FrameType } from '../../src/protocol/frame.js';
import type { FrameFields } from '../../src/protocol/frame.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { RawPeer, RawServer, chunk, firstPiece, smallRequest, statusText } from '../support/raw-peer.js';

const closing: { close(): Promise<void> }[] = [];
const peers: RawPeer[] = [];
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.socket.destroy();
  await Promise.all(closing.splice(0).map((one) => one.close()));
});

const quiet = { log: () => undefined, backoffMs: { min: 5, max: 20 }, drainTimeoutMs: 2000 };
const window = 262_144;
const full = Buffer.alloc(65_536, 1);
const mebibyte = 1024 * 1024;

async function server(more: Partial<ServeOptions> = {}): Promise<Server> {
  const methods: ServeOptions['methods'] = {
    echo: (request) => request.body,
    count: (request) => String(request.body.length),
    make: (request) => Buffer.alloc(Number(request.attachments?.['bytes'] ?? 16 * mebibyte), 5),
  };
  const made = await serve({ mesh: false, ...quiet, service: 's', methods, ...more });
  closing.push(made);
  return made;
}

async function peerOf(one: Server): Promise<RawPeer> {
  const peer = await RawPeer.connect(one.address!);
  peers.push(peer);
  return peer;
}

function make(idLo: number, bytes: number, timeoutMs = 10_000): FrameFields {
  const header = encodeHeader({ service: 's', method: 'make', attachments: { bytes: String(bytes) } });
  return { type: FrameType.request, idLo, timeoutMs, header };
}

function credit(idLo: number, value: number, reply: boolean): FrameFields {
  return { type: FrameType.credit, flags: reply ? Flag.reply : 0, idLo, value };
}

/** A call on a link that works: proof that the server is well. */
async function answers(peer: RawPeer, idLo: number): Promise<void> {
  peer.send(smallRequest(idLo, 'count'));
  expect((await peer.response(idLo)).body.toString()).toBe('0');
}

describe('a client that grants no credit', () => {
  test('gets the window and no more; other calls on the link are answered meanwhile', async () => {
    const peer = await peerOf(await server());
    peer.send(make(1, 16 * mebibyte));
    const first = await peer.response(1);
    expect([first.flags, first.value, first.status]).toEqual([Flag.more, 16 * mebibyte, 0]);
    await peer.waitFor(() => peer.bodyBytes(1, true) === window);
    for (let idLo = 2; idLo < 50; idLo += 1) await answers(peer, idLo);
    await peer.settled();
    expect(peer.bodyBytes(1, true)).toBe(window);
    peer.send(credit(1, 65_536, true));
    await peer.waitFor(() => peer.bodyBytes(1, true) === window + 65_536);
    await answers(peer, 50);
    expect(peer.bodyBytes(1, true)).toBe(window + 65_536);
  });

  test('holds up streams up to the bound; further answers wait, and small ones pass them', async () => {
    const peer = await peerOf(await server({ maxStreams: 3 }));
    for (let idLo = 1; idLo <= 5; idLo += 1) peer.send(make(idLo, mebibyte));
    await peer.waitFor(() => [1, 2, 3].every((idLo) => peer.bodyBytes(idLo, true) === window));
    await answers(peer, 6);
    expect([4, 5].map((idLo) => peer.bodyBytes(idLo, true))).toEqual([0, 0]);
    peer.send({ type: FrameType.cancel, idLo: 2 });
    await peer.waitFor(() => peer.bodyBytes(4, true) === window);
    expect(peer.bodyBytes(5, true)).toBe(0);
  });

  test('cannot make the server hold more than maxStreamBytes of answers', async () => {
    const peer = await peerOf(await server({ maxStreamBytes: 64 * mebibyte }));
    for (let idLo = 1; idLo <= 10; idLo += 1) peer.send(make(idLo, 16 * mebibyte));
    const refused = await peer.response(10);
    expect(refused.status).toBe(8);
    expect(statusText(refused)).toBe(
      'answers of 67108864 bytes wait on this link, 16777216 more are over 67108864 (maxStreamBytes)',
    );
    await peer.waitFor(() => [1, 2, 3, 4].every((idLo) => peer.bodyBytes(idLo, true) === window));
    await answers(peer, 11);
    expect(peer.of(FrameType.response).filter(({ status }) => status !== 0)).toHaveLength(6);
  });

  test('gets the deadline as a status: behind what was sent, or instead of it', async () => {
    const peer = await peerOf(await server({ maxStreams: 1 }));
    peer.send(make(1, mebibyte, 60), make(2, mebibyte, 60));
    const [end] = await peer.waitFor(() => {
      const found = peer.of(FrameType.chunk).filter(({ flags }) => (flags & Flag.more) === 0);
      return found.length > 0 && found;
    });
    expect([end!.idLo, end!.flags, end!.status, end!.body.length]).toEqual([1, Flag.reply, 4, 0]);
    expect(statusText(end!)).toBe('the answer was not taken whole before the deadline');
    const instead = await peer.waitFor(() =>
      peer.frames.find(
        (frame) => frame.idLo === 2 && (frame.status === 4 || frame.type === FrameType.response),
      ),
    );
    expect(instead.type).toBe(FrameType.response);
    await answers(peer, 3);
  });
});

describe('a server that grants no credit', () => {
  let raw: RawServer;
  beforeEach(async () => {
    raw = await RawServer.listen();
    closing.push(raw);
  });

  async function client(more: ConnectOptions = {}): Promise<Client> {
    const made = await connect({ mesh: false, ...quiet, endpoints: { s: [raw.address] }, ...more });
    closing.unshift(made);
    return made;
  }

  const begin = (idLo: number, value: number, body: Buffer = full): FrameFields => ({
    type: FrameType.response,
    flags: Flag.more,
    idLo,
    value,
    body,
  });

  test('gets the window and no more; other calls leave; the deadline comes with proof and a cancel', async () => {
    const caller = await client();
    const stuck = caller.call('s', 'put', Buffer.alloc(mebibyte), { timeoutMs: 300 });
    const failed = expect(stuck).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
    const peer = await raw.peer();
    const first = await peer.next(FrameType.request);
    expect([first.flags, first.value]).toEqual([Flag.more, mebibyte]);
    await peer.waitFor(() => peer.bodyBytes(first.idLo, false) === window);
    const small = caller.call('s', 'get', 'x');
    const second = await peer.next(FrameType.request, 1);
    peer.send({ type: FrameType.response, idLo: second.idLo, body: Buffer.from('y') });
    expect((await small).body.toString()).toBe('y');
    await failed;
    expect((await peer.next(FrameType.cancel)).idLo).toBe(first.idLo);
    peer.send(credit(first.idLo, window, false));
    await peer.settled();
    expect(peer.bodyBytes(first.idLo, false)).toBe(window);
  });

  test('a deadline after the last piece leaves doubt', async () => {
    const caller = await client();
    const call = caller.call('s', 'put', Buffer.alloc(window), { timeoutMs: 200 });
    const failed = expect(call).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: true });
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
    await failed;
    expect((await peer.next(FrameType.cancel)).idLo).toBe(idLo);
  });

  test('a reply in pieces that begins before the body is complete stops it, too', async () => {
    const caller = await client();
    const call = caller.call('s', 'put', Buffer.alloc(mebibyte));
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
    peer.send(begin(idLo, 65_537), credit(idLo, window, false));
    await peer.settled();
    expect(peer.bodyBytes(idLo, false)).toBe(window);
    peer.send(chunk(idLo, Buffer.alloc(1), true, true));
    expect((await call).body).toHaveLength(65_537);
  });

  test('a call that is aborted in the middle of its reply gives the bounds back', async () => {
    const caller = await client({ maxStreams: 1 });
    for (let times = 0; times < 3; times += 1) {
      const controller = new AbortController();
      const call = caller.call('s', 'get', '', { signal: controller.signal });
      const peer = await raw.peer();
      const { idLo } = await peer.next(FrameType.request, times);
      peer.send(begin(idLo, 100_000));
      await peer.settled();
      controller.abort();
      await expect(call).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: true });
    }
  });

  test('credit lets the rest come, piece by piece', async () => {
    const caller = await client();
    const body = Buffer.alloc(window + 100_000, 3);
    const call = caller.call('s', 'put', body);
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
    peer.send(credit(idLo, 1, false));
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window + 1);
    peer.send(credit(idLo, 99_999, false));
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === body.length);
    const chunks = peer.of(FrameType.chunk);
    expect(chunks.map(({ flags }) => flags)).toEqual([1, 1, 1, 1, 1, 0]);
    peer.send({ type: FrameType.response, idLo, body: Buffer.from('ok') });
    expect((await call).body.toString()).toBe('ok');
  });

  test('an answer before the body is complete ends the call; nothing more is sent, whatever credit comes', async () => {
    const caller = await client();
    for (const [status, expected] of [
      [0, undefined],
      [7, 'PERMISSION_DENIED'],
    ] as const) {
      const call = caller
        .call('s', 'put', Buffer.alloc(mebibyte))
        .catch(({ status: name }: { status: string }) => name);
      const peer = await raw.peer();
      const { idLo } = await peer.waitFor(() => peer.of(FrameType.request).at(-1));
      await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
      peer.send({ type: FrameType.response, idLo, status });
      const outcome = await call;
      if (expected !== undefined) expect(outcome).toBe(expected);
      else expect(outcome).toMatchObject({ body: Buffer.alloc(0) });
      peer.send(credit(idLo, window, false));
      await peer.settled();
      expect(peer.bodyBytes(idLo, false)).toBe(window);
      expect(peer.of(FrameType.cancel)).toEqual([]);
      peer.frames.length = 0;
    }
  });

  test('lost before the last piece was handed over: not run; lost after it: nobody knows', async () => {
    const caller = await client();
    const unsent = caller.call('s', 'put', Buffer.alloc(mebibyte));
    const sent = caller.call('s', 'put', Buffer.alloc(window));
    const begun = caller.call('s', 'put', Buffer.alloc(mebibyte));
    const peer = await raw.peer();
    const ids = await peer.waitFor(() => {
      const requests = peer.of(FrameType.request);
      return requests.length === 3 && requests.map(({ idLo }) => idLo);
    });
    await peer.waitFor(() => ids.every((idLo) => peer.bodyBytes(idLo, false) === window));
    peer.send({ type: FrameType.response, idLo: ids[2]!, flags: Flag.more, value: 100_000, body: full });
    await peer.settled();
    peer.socket.destroy();
    const lost = { status: 'UNAVAILABLE', mayHaveRun: false };
    await expect(unsent).rejects.toMatchObject(lost);
    await expect(sent).rejects.toMatchObject({ ...lost, mayHaveRun: true });
    // An answer had begun, so something has run.
    await expect(begun).rejects.toMatchObject({ ...lost, mayHaveRun: true });
  });

  test('aborted before its turn came, a call leaves no trace', async () => {
    const caller = await client({ maxStreams: 1 });
    const controller = new AbortController();
    const first = caller.call('s', 'put', Buffer.alloc(mebibyte));
    const second = caller.call('s', 'put', Buffer.alloc(mebibyte), { signal: controller.signal });
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
    controller.abort();
    await expect(second).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: false });
    peer.send({ type: FrameType.response, idLo });
    await first;
    await peer.settled();
    expect(peer.of(FrameType.request)).toHaveLength(1);
    expect(peer.of(FrameType.cancel)).toEqual([]);
  });

  test('a go-away is acknowledged behind the streams that still wait for their turn', async () => {
    const caller = await client({ maxStreams: 1 });
    const calls = [1, 2].map(() => caller.call('s', 'put', Buffer.alloc(window + 1)));
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    await peer.waitFor(() => peer.bodyBytes(idLo, false) === window);
    peer.send({ type: FrameType.goAway, idLo: 77 });
    await peer.settled();
    expect(peer.of(FrameType.goAwayAck)).toEqual([]);
    peer.send(credit(idLo, 1, false));
    expect((await peer.next(FrameType.goAwayAck)).idLo).toBe(77);
    const order = peer.frames.map(({ type }) => type);
    expect(order.lastIndexOf(FrameType.request)).toBeLessThan(order.indexOf(FrameType.goAwayAck));
    expect(peer.of(FrameType.request)).toHaveLength(2);
    const second = peer.of(FrameType.request)[1]!.idLo;
    peer.send(credit(second, 1, false));
    for (const id of [idLo, second]) {
      await peer.waitFor(() => peer.bodyBytes(id, false) === window + 1);
      peer.send({ type: FrameType.response, idLo: id });
    }
    await Promise.all(calls);
    await peer.waitFor(() => peer.closed);
  });

  /** Lets a client call, and answers its request with these frames. */
  async function answeredWith(
    frames: (idLo: number) => FrameFields[],
    more: ConnectOptions = {},
  ): Promise<{ outcome: unknown; peer: RawPeer; caller: Client }> {
    const caller = await client(more);
    const call = caller.call('s', 'get', '').catch((error: unknown) => error);
    const peer = await raw.peer();
    const { idLo } = await peer.next(FrameType.request);
    peer.send(...frames(idLo));
    return { outcome: await call, peer, caller };
  }

  test('a reply in pieces of any size is put together', async () => {
    const { outcome } = await answeredWith((idLo) => [
      begin(idLo, 6, Buffer.from('ab')),
      chunk(idLo, Buffer.from('c'), false, true),
      chunk(idLo, Buffer.from('def'), true, true),
    ]);
    expect((outcome as { body: Buffer }).body.toString()).toBe('abcdef');
  });

  test.each<[string, (idLo: number) => FrameFields[], object, boolean]>([
    [
      'longer than it said',
      (idLo) => [begin(idLo, 65_537), chunk(idLo, Buffer.alloc(2), false, true)],
      { status: 'DATA_LOSS', message: 'a body is longer than the 65537 bytes it was said to have' },
      true,
    ],
    [
      'longer than it said from the start',
      (idLo) => [begin(idLo, 65_535)],
      { status: 'DATA_LOSS', message: 'a body is longer than the 65535 bytes it was said to have' },
      true,
    ],
    [
      'shorter than it said',
      (idLo) => [begin(idLo, 65_538), chunk(idLo, Buffer.alloc(1), true, true)],
      {
        status: 'DATA_LOSS',
        message: 'a body ended after 65537 of the 65538 bytes it was said to have',
      },
      false,
    ],
    [
      'over the limit',
      (idLo) => [begin(idLo, 0xffffffff)],
      {
        status: 'RESOURCE_EXHAUSTED',
        message: 'a body of 4294967295 bytes is over the limit of 67108864 bytes (maxBodyBytes)',
      },
      true,
    ],
    [
      'broken off',
      (idLo) => [
        begin(idLo, 100_000),
        {
          type: FrameType.chunk,
          flags: Flag.reply,
          idLo,
          status: 14,
          header: encodeHeader({ statusMessage: 'the instance is gone' }),
        },
      ],
      { status: 'UNAVAILABLE', message: 'the instance is gone' },
      false,
    ],
    [
      'broken off with a proof that it cannot have',
      (idLo) => [
        { ...begin(idLo, 100_000), flags: Flag.more | Flag.notRun },
        { type: FrameType.chunk, flags: Flag.reply | Flag.notRun, idLo, status: 10 },
      ],
      { status: 'ABORTED' },
      false,
    ],
    [
      'a failure that goes on and has such a proof',
      (idLo) => [{ ...begin(idLo, 100_000), flags: Flag.more | Flag.notRun, status: 5 }],
      { status: 'NOT_FOUND' },
      true,
    ],
    [
      'a failure that goes on',
      (idLo) => [
        { ...begin(idLo, 100_000), status: 5, header: encodeHeader({ statusMessage: 'no such thing' }) },
      ],
      { status: 'NOT_FOUND', message: 'no such thing' },
      true,
    ],
    [
      'with a malformed header',
      (idLo) => [{ ...begin(idLo, 100_000), header: Buffer.from([8, 1]) }],
      { status: 'INTERNAL' },
      true,
    ],
  ])('a reply that is %s', async (_name, frames, expected, cancels) => {
    const { outcome, peer, caller } = await answeredWith(frames);
    expect(outcome).toMatchObject({ ...expected, mayHaveRun: true });
    await peer.settled();
    expect(peer.of(FrameType.cancel)).toHaveLength(cancels ? 1 : 0);
    // What still comes of it is ignored, and the link goes on.
    const { idLo } = peer.of(FrameType.request)[0]!;
    peer.send(chunk(idLo, full, false, true), credit(idLo, 1, false), chunk(idLo, full, true, true));
    const call = caller.call('s', 'get', '');
    peer.send({ type: FrameType.response, idLo: (await peer.next(FrameType.request, 1)).idLo });
    await call;
  });

  test.each<[string, (idLo: number) => FrameFields[]]>([
    ['a second response', (idLo) => [begin(idLo, 100_000), { type: FrameType.response, idLo }]],
    ['a chunk without bytes', (idLo) => [begin(idLo, 100_000), chunk(idLo, Buffer.alloc(0), false, true)]],
    ['credit beyond the window', (idLo) => [credit(idLo, window + 1, false)]],
  ])('%s is a protocol error', async (_name, frames) => {
    const caller = await client();
    const call = caller.call('s', 'put', Buffer.alloc(mebibyte)).catch((error: unknown) => error);
    const peer = await raw.peer();
    peer.send(...frames((await peer.next(FrameType.request)).idLo));
    expect(await call).toMatchObject({
      status: 'UNAVAILABLE',
      message: expect.stringContaining('protocol error') as string,
    });
    await peer.waitFor(() => peer.closed);
  });

  test('replies beyond the bounds of the link fail, and name the bound', async () => {
    const caller = await client({ maxStreams: 2, maxBodyBytes: mebibyte, maxStreamBytes: mebibyte });
    const calls = Array.from({ length: 4 }, () =>
      caller.call('s', 'get', '').catch((error: { message: string }) => error.message),
    );
    const peer = await raw.peer();
    const ids = await peer.waitFor(() => {
      const found = peer.of(FrameType.request).map(({ idLo }) => idLo);
      return found.length === 4 && found;
    });
    peer.send(
      begin(ids[0]!, 900_000),
      begin(ids[1]!, 200_000),
      begin(ids[2]!, 100_000),
      begin(ids[3]!, 66_000),
    );
    expect(await calls[1]).toBe(
      'bodies of 900000 bytes arrive on this link, 200000 more are over 1048576 (maxStreamBytes)',
    );
    expect(await calls[3]).toBe('2 bodies arrive on this link (maxStreams)');
    await peer.settled();
    expect(peer.of(FrameType.cancel).map(({ idLo }) => idLo)).toEqual([ids[1], ids[3]]);
    peer.send(chunk(ids[2]!, Buffer.alloc(100_000 - 65_536), true, true));
    expect(((await calls[2]) as { body: Buffer }).body).toHaveLength(100_000);
    peer.socket.destroy();
    expect(await calls[0]).toContain('the link is lost');
  });
});

describe('requests of a raw client', () => {
  test('in pieces of any size are put together before the handler starts', async () => {
    const one = await server();
    const peer = await peerOf(one);
    peer.send(firstPiece(1, 'echo', 6, Buffer.from('ab')), chunk(1, Buffer.from('cde'), false));
    await peer.settled();
    expect(peer.of(FrameType.response)).toEqual([]);
    expect(one.runningRequests).toBe(1);
    peer.send(chunk(1, Buffer.from('f'), true));
    expect((await peer.response(1)).body.toString()).toBe('abcdef');
    expect(one.runningRequests).toBe(0);
  });

  test('get credit for what was taken, in few frames, and none that is not needed', async () => {
    const peer = await peerOf(await server());
    const pieces = 32;
    peer.send(firstPiece(1, 'count', pieces * 65_536, full));
    for (let piece = 1; piece < pieces; piece += 1) peer.send(chunk(1, full, piece === pieces - 1));
    expect((await peer.response(1)).body.toString()).toBe(String(pieces * 65_536));
    const grants = peer.of(FrameType.credit).map(({ value }) => value);
    const granted = grants.reduce((sum, value) => sum + value, 0);
    expect(granted).toBeGreaterThanOrEqual(pieces * 65_536 - window);
    expect(granted).toBeLessThan(pieces * 65_536);
    expect(Math.min(...grants)).toBeGreaterThanOrEqual(65_536);
  });

  test.each<[string, FrameFields[], number, string]>([
    [
      'longer than they said',
      [firstPiece(1, 'echo', 65_537, full), chunk(1, Buffer.alloc(2), false)],
      3,
      'a body is longer than the 65537 bytes it was said to have',
    ],
    [
      'longer than they said from the start',
      [firstPiece(1, 'echo', 65_535, full)],
      3,
      'a body is longer than the 65535 bytes it was said to have',
    ],
    [
      'shorter than they said',
      [firstPiece(1, 'echo', 100_000, full), chunk(1, Buffer.alloc(1), true)],
      3,
      'a body ended after 65537 of the 100000 bytes it was said to have',
    ],
    [
      'over the limit',
      [firstPiece(1, 'echo', 0xffffffff, full)],
      8,
      'a body of 4294967295 bytes is over the limit of 67108864 bytes (maxBodyBytes)',
    ],
    [
      'never complete',
      [firstPiece(1, 'echo', 100_000, full, 20)],
      4,
      'the request did not arrive whole before the deadline',
    ],
  ])('that are %s have not run, and the link goes on', async (_name, frames, status, text) => {
    const one = await server();
    const peer = await peerOf(one);
    peer.send(...frames);
    const answer = await peer.response(1);
    expect([answer.status, answer.flags, statusText(answer)]).toEqual([status, Flag.notRun, text]);
    expect(one.runningRequests).toBe(0);
    // What crosses the answer is ignored.
    peer.send(chunk(1, full, false), chunk(1, full, true), credit(1, 5, true));
    await answers(peer, 2);
    expect(peer.of(FrameType.response)).toHaveLength(2);
  });

  test.each<[string, FrameFields[]]>([
    ['a chunk without bytes that is not the last', [chunk(1, Buffer.alloc(0), false)]],
    [
      'more than the window without credit',
      [
        firstPiece(1, 'echo', window, full),
        // All but one byte, so that it may go on.
        ...[full, full, full.subarray(1), full].map((piece) => chunk(1, piece, false)),
      ],
    ],
    ['an id that is in use', [firstPiece(1, 'echo', 100_000, full), firstPiece(1, 'echo', 100_000, full)]],
    ['an id that is being answered', [make(1, mebibyte), make(1, mebibyte)]],
    ['credit beyond the window', [make(1, 16 * mebibyte), credit(1, 0xffffffff, true)]],
  ])('%s: the link is closed, nothing else', async (_name, frames) => {
    const one = await server();
    const other = await peerOf(one);
    const peer = await peerOf(one);
    peer.send(...frames);
    await peer.waitFor(() => peer.closed);
    await answers(other, 1);
    expect(one.runningRequests).toBe(0);
  });

  test('beyond the bounds of the link are refused with proof, and name the bound', async () => {
    const one = await server({ maxStreams: 2, maxBodyBytes: mebibyte, maxStreamBytes: mebibyte });
    const peer = await peerOf(one);
    peer.send(
      firstPiece(1, 'count', 900_000, full),
      firstPiece(2, 'count', 200_000, full),
      firstPiece(3, 'count', 100_000, full),
      firstPiece(4, 'count', 66_000, full),
    );
    const [second, fourth] = [await peer.response(2), await peer.response(4)];
    expect([second.status, second.flags, statusText(second)]).toEqual([
      8,
      Flag.notRun,
      'bodies of 900000 bytes arrive on this link, 200000 more are over 1048576 (maxStreamBytes)',
    ]);
    expect([fourth.status, fourth.flags, statusText(fourth)]).toEqual([
      8,
      Flag.notRun,
      '2 bodies arrive on this link (maxStreams)',
    ]);
    expect(one.runningRequests).toBe(2);
    peer.send({ type: FrameType.cancel, idLo: 1 }, firstPiece(5, 'count', 900_000, full));
    await peer.settled();
    expect(one.runningRequests).toBe(2);
    peer.send(chunk(3, Buffer.alloc(100_000 - 65_536), true));
    expect((await peer.response(3)).body.toString()).toBe('100000');
  });

  test('that claim much and send little cost little', async () => {
    const one = await server();
    const peer = await peerOf(one);
    const before = process.memoryUsage().arrayBuffers;
    peer.send(
      ...Array.from({ length: 4 }, (_, i) => firstPiece(i + 1, 'echo', 64 * mebibyte, Buffer.alloc(1000))),
    );
    await peer.settled();
    expect(one.runningRequests).toBe(4);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * mebibyte);
  });

  test('are let go when they are cancelled, and when their sender dies', async () => {
    const one = await server();
    const peer = await peerOf(one);
    peer.send(firstPiece(1, 'echo', mebibyte, full), { type: FrameType.cancel, idLo: 1 });
    peer.send(chunk(1, full, false), chunk(1, full, true));
    await peer.settled();
    expect(one.runningRequests).toBe(0);
    expect(peer.of(FrameType.response)).toEqual([]);
    peer.send(firstPiece(2, 'echo', mebibyte, full));
    await peer.settled();
    expect(one.runningRequests).toBe(1);
    peer.socket.destroy();
    const other = await peerOf(one);
    await other.waitFor(() => {
      if (one.runningRequests > 0) other.send({ type: FrameType.ping });
      return one.runningRequests === 0;
    });
  });

  test('a reader that dies in the middle of its answer holds nothing up', async () => {
    const one = await server();
    const peer = await peerOf(one);
    peer.send(make(1, 16 * mebibyte));
    await peer.waitFor(() => peer.bodyBytes(1, true) === window);
    peer.socket.destroy();
    const other = await peerOf(one);
    await answers(other, 1);
    other.socket.destroy();
    const startMs = performance.now();
    await one.close();
    expect(performance.now() - startMs).toBeLessThan(quiet.drainTimeoutMs);
  });

  test('one-way with MORE is dropped, and so are its chunks', async () => {
    const run: string[] = [];
    const one = await server({ methods: (request) => void run.push(request.method) });
    const peer = await peerOf(one);
    const rest = Buffer.alloc(100_000 - 65_536);
    peer.send({ ...firstPiece(0, 'note', 100_000, full), type: FrameType.oneWay }, chunk(0, rest, true));
    peer.send(smallRequest(1, 'get'));
    await peer.response(1);
    expect(run).toEqual(['get']);
    expect(peer.of(FrameType.response)).toHaveLength(1);
    expect(one.runningRequests).toBe(0);
  });
});
