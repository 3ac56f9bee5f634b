// The app link through the addon, against a scripted agent in another process: what the SDK relies on, callback by
// callback. The native state machine has its own tests (native/test/app); here it is the port and the event loop.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAppLink, type AppLink } from '../../src/native/app-link.js';
import { FakeAgent, makeChunk, makeHello, makeRequest } from '../support/fake-agent.js';

const RING = 256 * 1024;

type Event =
  | { kind: 'open'; welcome: Buffer }
  | { kind: 'data'; bytes: Buffer; slab: Buffer }
  | { kind: 'space' }
  | { kind: 'close'; reason: string };

/** Collects a link's events; `next` waits for one. */
class Recorder {
  readonly events: Event[] = [];
  #wake: (() => void) | undefined;
  readonly callbacks = {
    onOpen: (welcome: Buffer) => this.#add({ kind: 'open', welcome }),
    onData: (slab: Buffer, start: number, end: number) =>
      this.#add({ kind: 'data', bytes: slab.subarray(start, end), slab }),
    onSpace: () => this.#add({ kind: 'space' }),
    onClose: (reason: string) => this.#add({ kind: 'close', reason }),
  };
  #read = 0;

  async next<K extends Event['kind']>(kind: K): Promise<Extract<Event, { kind: K }>> {
    while (this.events.length === this.#read) await new Promise<void>((resolve) => (this.#wake = resolve));
    const event = this.events[this.#read++] as Event;
    if (event.kind !== kind) throw new Error(`expected ${kind}, got ${JSON.stringify(event).slice(0, 200)}`);
    return event as Extract<Event, { kind: K }>;
  }

  /** Data until `count` bytes came, however they were batched. */
  async bytes(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let got = 0; got < count;) {
      const { bytes } = await this.next('data');
      parts.push(bytes);
      got += bytes.length;
    }
    return Buffer.concat(parts);
  }

  #add(event: Event): void {
    this.events.push(event);
    this.#wake?.();
  }
}

const writeAll = (link: AppLink, bytes: Uint8Array): number => link.write(bytes, 0, bytes.length);

describe('an app link', () => {
  let agent: FakeAgent;
  let recorder: Recorder;
  let link: AppLink | undefined;

  beforeEach(async () => {
    agent = await FakeAgent.start();
    recorder = new Recorder();
    link = undefined;
  });
  afterEach(async () => {
    link?.close();
    await agent.stop();
  });

  async function open(ringBytes = RING): Promise<AppLink> {
    link = openAppLink(agent.socketPath, makeHello(ringBytes), recorder.callbacks);
    agent.send('accept');
    expect(await agent.expect('hello')).toBe(makeHello(ringBytes).toString('hex'));
    agent.send('welcome', 0, ringBytes);
    const { welcome } = await recorder.next('open');
    expect(welcome.length).toBe(32);
    expect(welcome.readUInt32LE(28)).toBe(ringBytes);
    return link;
  }

  async function refusal(...welcome: (string | number)[]): Promise<string> {
    link = openAppLink(agent.socketPath, makeHello(RING), recorder.callbacks);
    agent.send('accept');
    await agent.expect('hello');
    agent.send('welcome', ...welcome);
    return (await recorder.next('close')).reason;
  }

  it('carries batches of whole frames both ways', async () => {
    const opened = await open();
    const frames = [makeRequest(1, 0), makeRequest(2, 100), makeRequest(3, 60_000)];
    const batch = Buffer.concat([Buffer.from('xx'), ...frames, Buffer.from('yy')]);
    expect(opened.write(batch, 2, batch.length - 2)).toBe(batch.length - 4);
    for (const frame of frames) expect(await agent.expect('frame')).toBe(frame.toString('hex'));
    agent.send('put', 3, makeRequest(7, 500).toString('hex'));
    const { bytes, slab } = await recorder.next('data');
    expect(bytes).toEqual(Buffer.concat([makeRequest(7, 500), makeRequest(7, 500), makeRequest(7, 500)]));
    expect(slab.length).toBe(256 * 1024);
  });

  it('goes on for many rounds, and never reuses bytes it has handed out', async () => {
    const opened = await open();
    const kept: { bytes: Buffer; copy: Buffer }[] = [];
    const slabs = new Set<Buffer>();
    for (let round = 0; round < 60; round++) {
      const frame = makeRequest(round, 40_000 - round);
      expect(writeAll(opened, frame)).toBe(frame.length);
      expect(await agent.expect('frame')).toBe(frame.toString('hex'));
      agent.send('put', 1, frame.toString('hex'));
      const { bytes, slab } = await recorder.next('data');
      await agent.expect('done');
      expect(bytes.equals(frame)).toBe(true);
      kept.push({ bytes, copy: Buffer.from(bytes) });
      slabs.add(slab);
    }
    for (const { bytes, copy } of kept) expect(bytes.equals(copy)).toBe(true);
    expect(slabs.size).toBeGreaterThan(5);
    expect(slabs.size).toBeLessThan(30);
  });

  it('reuses the bytes of a batch of chunks, and of no other', async () => {
    await open();
    const request = makeRequest(1, 1000);
    const chunk = makeChunk(1, 60_000);
    const put = async (frame: Buffer): Promise<{ bytes: Buffer; slab: Buffer }> => {
      agent.send('put', 1, frame.toString('hex'));
      const data = await recorder.next('data');
      await agent.expect('done');
      expect(data.bytes.equals(frame)).toBe(true);
      return data;
    };
    const first = await put(request);
    for (let i = 0; i < 50; i++) {
      const { slab, bytes } = await put(chunk);
      expect(slab).toBe(first.slab);
      expect(bytes.byteOffset).toBe(first.bytes.byteOffset + request.length);
    }
    expect(first.bytes.equals(request)).toBe(true);
    const second = await put(request);
    await put(chunk);
    expect(second.bytes.equals(request)).toBe(true);
  });

  it('takes new memory when the application gave away what it had received', async () => {
    await open();
    const frame = makeRequest(1, 1000);
    for (let round = 0; round < 5; round++) {
      agent.send('put', 1, frame.toString('hex'));
      const { slab, bytes } = await recorder.next('data');
      await agent.expect('done');
      expect(bytes.equals(frame)).toBe(true);
      structuredClone(slab.buffer, { transfer: [slab.buffer as ArrayBuffer] });
      expect(slab.length).toBe(0);
    }
  });

  it('takes what fits when the ring is full, and says when there is room again', async () => {
    const opened = await open();
    agent.send('pause');
    await agent.expect('done');
    const frame = makeRequest(1, 60_000);
    const batch = Buffer.concat(Array.from({ length: 10 }, () => frame));
    const taken = writeAll(opened, batch);
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(batch.length);
    expect(taken % frame.length).toBe(0);
    expect(writeAll(opened, frame)).toBe(0);
    agent.send('resume');
    for (let at = 0; at < taken; at += frame.length) await agent.expect('frame');
    await agent.expect('done');
    await recorder.next('space');
    expect(writeAll(opened, frame)).toBe(frame.length);
    await agent.expect('frame');
    expect(recorder.events.filter((event) => event.kind === 'space')).toHaveLength(1);
  });

  it('hands over at most 256 KiB in one callback and lets others run in between', async () => {
    const turns: number[] = [];
    let immediates = 0;
    const count = (): void => {
      immediates++;
      setImmediate(count).unref();
    };
    setImmediate(count).unref();
    const record = recorder.callbacks.onData;
    recorder.callbacks.onData = (slab, start, end) => {
      turns.push(immediates);
      expect(end - start).toBeLessThanOrEqual(256 * 1024);
      record(slab, start, end);
    };
    await open(1024 * 1024);
    const frame = makeRequest(5, 30_000);
    agent.send('put', 30, frame.toString('hex'));
    await agent.expect('done');
    await recorder.bytes(30 * frame.length);
    expect(turns.length).toBeGreaterThan(3);
    expect(new Set(turns).size).toBe(turns.length);
  });

  it('delivers a refusal with its welcome, then closes', async () => {
    link = openAppLink(agent.socketPath, makeHello(RING), recorder.callbacks);
    agent.send('accept');
    await agent.expect('hello');
    agent.send('welcome', 7, 0);
    expect((await recorder.next('open')).welcome.readUInt8(5)).toBe(7);
    expect((await recorder.next('close')).reason).toBe('the agent refused the link with status 7');
    expect(await agent.expect('closed')).toBe('');
  });

  it('closes after a welcome that grants no ring', async () => {
    link = openAppLink(agent.socketPath, makeHello(RING), recorder.callbacks);
    agent.send('accept');
    await agent.expect('hello');
    agent.send('welcome', 0, 0);
    await recorder.next('open');
    expect((await recorder.next('close')).reason).toContain('grants no ring');
  });

  it('closes on a hostile handshake', async () => {
    expect(await refusal(0, RING, 'unsealed')).toBe('the segment is not sealed');
  });

  it('closes when descriptors are missing', async () => {
    expect(await refusal(0, RING, 'short')).toContain('descriptors');
  });

  it('closes on a hostile ring', async () => {
    await open();
    agent.send('store', 8192, 12);
    expect((await recorder.next('close')).reason).toBe('ring head out of range');
    await agent.expect('closed');
  });

  it('closes on a hostile tail, but not from inside write', async () => {
    const opened = await open();
    agent.send('pause');
    await agent.expect('done');
    agent.send('store', 4096 + 128, 2 ** 40);
    agent.send('pause');
    await agent.expect('done');
    const batch = Buffer.concat(Array.from({ length: 10 }, () => makeRequest(1, 60_000)));
    writeAll(opened, batch);
    expect(recorder.events.map((event) => event.kind)).toEqual(['open']);
    expect((await recorder.next('close')).reason).toBe('ring tail out of range');
    expect(writeAll(opened, makeRequest(1, 1))).toBe(0);
  });

  it('closes on bytes on the socket', async () => {
    await open();
    agent.send('raw', '00');
    expect((await recorder.next('close')).reason).toBe('the agent sent bytes on the socket of a ring link');
  });

  it('delivers what a dying agent had published, then closes once', async () => {
    await open();
    agent.send('put', 3, makeRequest(9, 50_000).toString('hex'));
    agent.send('hangup');
    expect((await recorder.bytes(3 * 50_032)).length).toBe(3 * 50_032);
    expect((await recorder.next('close')).reason).toBe('the agent hung up');
    link?.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(recorder.events.filter((event) => event.kind === 'close')).toHaveLength(1);
  });

  it('closes at the wish of the application, once and later', async () => {
    const opened = await open();
    opened.close();
    opened.close();
    expect(recorder.events).toHaveLength(1);
    expect(writeAll(opened, makeRequest(1, 1))).toBe(0);
    expect((await recorder.next('close')).reason).toBe('closed by the application');
    await agent.expect('closed');
    opened.close();
    opened.ref();
    opened.unref();
  });

  it('can be closed from inside a callback', async () => {
    const opened = await open();
    const record = recorder.callbacks.onData;
    let during: number | undefined;
    link = undefined;
    const second = new Recorder();
    opened.close();
    await recorder.next('close');
    await agent.expect('closed');
    second.callbacks.onData = (slab, start, end) => {
      record(slab, start, end);
      inner.close();
      during = second.events.length;
    };
    const inner = openAppLink(agent.socketPath, makeHello(RING), second.callbacks);
    agent.send('accept');
    await agent.expect('hello');
    agent.send('welcome', 0, RING);
    await second.next('open');
    agent.send('put', 1, makeRequest(1, 1).toString('hex'));
    expect((await second.next('close')).reason).toBe('closed by the application');
    expect(during).toBe(1);
  });

  it('runs microtasks and ticks once per batch', async () => {
    const order: string[] = [];
    const record = recorder.callbacks.onData;
    recorder.callbacks.onData = (slab, start, end) => {
      order.push('batch');
      process.nextTick(() => order.push('tick'));
      void Promise.resolve().then(() => order.push('microtask'));
      record(slab, start, end);
    };
    await open();
    agent.send('put', 4, makeRequest(1, 10).toString('hex'));
    await recorder.bytes(4 * 42);
    agent.send('put', 4, makeRequest(1, 10).toString('hex'));
    await recorder.bytes(4 * 42);
    expect(order.slice(0, 4)).toEqual(['batch', 'tick', 'microtask', 'batch']);
  });

  it('refuses what is no batch of whole frames', async () => {
    const opened = await open();
    const frame = makeRequest(1, 10);
    expect(() => opened.write(frame, 0, frame.length - 1)).toThrow(TypeError);
    expect(() => opened.write(Buffer.from('hello, this is not a frame at all'), 0, 33)).toThrow(TypeError);
    expect(() => writeAll(opened, makeHello(0))).toThrow(TypeError);
    expect(() => opened.write(frame, 0, frame.length + 1)).toThrow(RangeError);
    expect(() => opened.write(frame, -1, frame.length)).toThrow(RangeError);
    expect(() => opened.write(frame, 10, 5)).toThrow(RangeError);
    expect(() => opened.write('x' as unknown as Buffer, 0, 1)).toThrow(TypeError);
    expect(() => opened.write(new Uint16Array(100) as unknown as Buffer, 0, 1)).toThrow(TypeError);
    expect(() => opened.write(frame, Number.NaN, 1e300)).toThrow(RangeError);
    expect(() => opened.writeFrame(frame, Buffer.alloc(1))).toThrow(TypeError);
    expect(() => opened.writeFrame('x' as unknown as Buffer, frame)).toThrow(TypeError);
    expect(opened.write(frame, 5, 5)).toBe(0);
    expect(writeAll(opened, frame)).toBe(frame.length);
    expect(await agent.expect('frame')).toBe(frame.toString('hex'));
  });
});

describe('opening an app link', () => {
  it('reports an unreachable agent later, not at once', async () => {
    const recorder = new Recorder();
    const link = openAppLink('/nonexistent/agent.sock', makeHello(RING), recorder.callbacks);
    expect(recorder.events).toEqual([]);
    expect(writeAll(link, makeRequest(1, 1))).toBe(0);
    expect((await recorder.next('close')).reason).toBe(
      'cannot reach the agent at /nonexistent/agent.sock: No such file or directory',
    );
  });

  it('refuses arguments of the wrong kind at once', () => {
    const { callbacks } = new Recorder();
    const wrong = openAppLink as unknown as (...args: unknown[]) => AppLink;
    expect(() => wrong()).toThrow(TypeError);
    expect(() => wrong('/x', 'hello', callbacks)).toThrow(TypeError);
    expect(() => wrong('/x', makeHello(RING), null)).toThrow(TypeError);
    expect(() => wrong('/x', makeHello(RING), { ...callbacks, onSpace: 1 })).toThrow(/onSpace/);
  });
});
