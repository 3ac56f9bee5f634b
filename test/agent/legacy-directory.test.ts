import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LegacyDirectory } from '../../src/agent/legacy-directory.js';
import { Status } from '../../src/base/status.js';
import { emptyHeader } from '../../src/protocol/header.js';
import type { Instance } from '../../src/registry/instance.js';
import type { Registration, Registry } from '../../src/registry/registry.js';

/** What stands in the registry, by id; both processes of a handoff write there. */
let registered: Map<string, Instance>;
/** Why the registry takes nothing now. */
let refuse: Error | undefined;
let troubles: string[];

const registry = {
  async register(instance: Instance): Promise<Registration> {
    if (refuse) throw refuse;
    registered.set(instance.id, instance);
    return {
      instance,
      update: async () => undefined,
      deregister: async () => void registered.delete(instance.id),
    };
  },
} as unknown as Registry;

const directory = (): LegacyDirectory =>
  new LegacyDirectory(registry, 10, 'loopback', (message) => troubles.push(message));

async function ask(of: LegacyDirectory, method: string, address: string): Promise<number> {
  const body = Buffer.from(JSON.stringify(['/service/old', address, 'redis', {}]));
  const header = { ...emptyHeader(), service: '/service/moa-admin', method };
  const verdict = await of.answer(header, body, 'outbound');
  if (verdict.kind !== 'answer') throw new Error('no answer');
  return verdict.code;
}
const listed = (): string[] => [...registered.values()].map(({ host, port }) => `${host}:${port}`).sort();

beforeEach(() => {
  vi.useFakeTimers();
  registered = new Map();
  refuse = undefined;
  troubles = [];
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a registration', () => {
  it('ends when it was not renewed for 15 seconds', async () => {
    const one = directory();
    expect(await ask(one, 'registerService', '127.0.0.1:1')).toBe(Status.OK);
    await vi.advanceTimersByTimeAsync(14_000);
    expect(await ask(one, 'registerService', '127.0.0.1:1')).toBe(Status.OK);
    await vi.advanceTimersByTimeAsync(14_999);
    expect(listed()).toEqual(['127.0.0.1:1']);
    await vi.advanceTimersByTimeAsync(1);
    expect(listed()).toEqual([]);
  });
});

describe('a handoff', () => {
  it('moves registrations with the time that is left of them', async () => {
    const old = directory();
    await ask(old, 'registerService', '127.0.0.1:1');
    await vi.advanceTimersByTimeAsync(10_000);
    await ask(old, 'registerService', '127.0.0.1:2');
    await old.pause();
    const successor = directory();
    successor.adopt(JSON.parse(JSON.stringify(old.export())) as ReturnType<LegacyDirectory['export']>);
    registered.clear(); // shows that the new one renews them
    successor.confirm();
    await vi.advanceTimersByTimeAsync(4_999);
    expect(listed()).toEqual(['127.0.0.1:1', '127.0.0.1:2']);
    expect(successor.size).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(listed()).toEqual(['127.0.0.1:2']);
    expect(await ask(successor, 'registerService', '127.0.0.1:2')).toBe(Status.OK);
    await vi.advanceTimersByTimeAsync(14_999);
    expect(listed()).toEqual(['127.0.0.1:2']);
    expect(await ask(successor, 'unregisterService', '127.0.0.1:2')).toBe(Status.OK);
    expect(listed()).toEqual([]);
  });

  it('touches nothing before it is certain, in either process', async () => {
    const old = directory();
    await ask(old, 'registerService', '127.0.0.1:1');
    await vi.advanceTimersByTimeAsync(14_000);
    await old.pause();
    const successor = directory();
    successor.adopt(old.export());
    const waits = [
      ask(old, 'registerService', '127.0.0.1:2'),
      ask(successor, 'unregisterService', '127.0.0.1:1'),
    ];
    await vi.advanceTimersByTimeAsync(60_000);
    expect(listed()).toEqual(['127.0.0.1:1']);
    // It came to nothing: the old one goes on as if no time had passed.
    old.resume();
    expect(await waits[0]).toBe(Status.OK);
    await vi.advanceTimersByTimeAsync(999);
    expect(listed()).toEqual(['127.0.0.1:1', '127.0.0.1:2']);
    await vi.advanceTimersByTimeAsync(1);
    expect(listed()).toEqual(['127.0.0.1:2']);
  });

  it('waits for a registration under way, which then moves too', async () => {
    const old = directory();
    const asked = ask(old, 'registerService', '127.0.0.1:1');
    await old.pause();
    expect(await asked).toBe(Status.OK);
    expect(old.export()).toMatchObject([{ instance: { port: 1 } }]);
  });

  it('while the registry is down: it is asked again until it takes them', async () => {
    const old = directory();
    await ask(old, 'registerService', '127.0.0.1:1');
    await old.pause();
    const successor = directory();
    successor.adopt(old.export());
    registered.clear();
    refuse = new Error('down');
    successor.confirm();
    await vi.advanceTimersByTimeAsync(2_500);
    expect(troubles.length).toBeGreaterThan(1);
    refuse = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(listed()).toEqual(['127.0.0.1:1']);
  });
});
