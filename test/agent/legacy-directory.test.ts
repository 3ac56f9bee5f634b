import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LegacyDirectory } from '../../src/agent/legacy-directory.js';
import type { Asker, RegistrationRules } from '../../src/agent/legacy-directory.js';
import { Status } from '../../src/base/status.js';
import { decodeHeader, emptyHeader } from '../../src/protocol/header.js';
import type { Instance } from '../../src/registry/instance.js';
import type { Registration, Registry } from '../../src/registry/registry.js';

interface Answer {
  code: number;
  text: string;
}

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

const directory = (rules: Partial<RegistrationRules> = {}): LegacyDirectory =>
  new LegacyDirectory(
    registry,
    10,
    { registration: 'loopback', networks: null, advertisedHost: '192.0.2.77', ...rules },
    (message) => troubles.push(message),
  );

const local: Asker = { direction: 'outbound', place: 'here', uid: 1000 };
const remote: Asker = { direction: 'inbound', place: 'elsewhere', uid: undefined };

async function answerOf(of: LegacyDirectory, method: string, address: string, asker: Asker): Promise<Answer> {
  const body = Buffer.from(JSON.stringify(['/service/old', address, 'redis', {}]));
  const header = { ...emptyHeader(), service: '/service/moa-admin', method };
  const verdict = await of.answer(header, body, asker);
  if (verdict.kind !== 'answer') throw new Error('no answer');
  const text = verdict.header === undefined ? '' : decodeHeader(verdict.header).statusMessage;
  return { code: verdict.code, text };
}
async function ask(of: LegacyDirectory, method: string, address: string, asker = local): Promise<number> {
  return (await answerOf(of, method, address, asker)).code;
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

describe('who may register', () => {
  const stranger: Asker = { direction: 'inbound', place: 'here-unallowed', uid: 1234 };

  it('a user of this machine who may not use the agent registers nothing, and ends no registration of others', async () => {
    const one = directory({ registration: 'any' });
    await ask(one, 'registerService', '127.0.0.1:1');
    for (const method of ['registerService', 'unregisterService']) {
      const { code, text } = await answerOf(one, method, '127.0.0.1:1', stranger);
      expect(code).toBe(Status.PERMISSION_DENIED);
      expect(text).toBe(
        'uid 1234 of this machine may not register servers with this agent: add it to loopback.allowUids',
      );
    }
    expect(
      (await answerOf(one, 'registerService', '127.0.0.1:2', { ...stranger, uid: undefined })).text,
    ).toMatch(/^uid unknown /);
    expect(listed()).toEqual(['127.0.0.1:1']);
  });

  it('on a link that came from a process that did not ask, everybody who could before', async () => {
    const one = directory({ registration: 'any' });
    const moved: Asker = { direction: 'inbound', place: 'not-asked', uid: undefined };
    expect(await ask(one, 'registerService', '127.0.0.1:1', moved)).toBe(Status.OK);
    expect(await ask(one, 'registerService', '10.0.0.1:1', moved)).toBe(Status.OK);
  });
});

describe('which addresses are registered', () => {
  it("of a caller on this machine, this machine's", async () => {
    const one = directory();
    for (const own of ['127.0.0.1:1', '[::1]:1', '192.0.2.77:1'])
      expect(await ask(one, 'registerService', own)).toBe(Status.OK);
    const { code, text } = await answerOf(one, 'registerService', '10.9.8.7:1', local);
    expect(code).toBe(Status.PERMISSION_DENIED);
    expect(text).toContain('add its network to legacy.networks');
  });

  it('of a caller elsewhere, those of private networks', async () => {
    const one = directory({ registration: 'any' });
    expect(await ask(one, 'registerService', '10.9.8.7:1', remote)).toBe(Status.OK);
    for (const other of ['127.0.0.1:1', '[::1]:1', '198.51.100.1:1'])
      expect(await ask(one, 'registerService', other, remote)).toBe(Status.PERMISSION_DENIED);
  });

  it('those of configured networks, and those that another process let in', async () => {
    const one = directory({ networks: ['10.9.0.0/16'] });
    expect(await ask(one, 'registerService', '10.9.8.7:1')).toBe(Status.OK);
    await one.pause();
    const successor = directory();
    successor.adopt(one.export());
    successor.confirm();
    expect(await ask(successor, 'registerService', '10.9.8.7:1')).toBe(Status.OK);
    expect(await ask(successor, 'registerService', '10.9.8.7:2')).toBe(Status.PERMISSION_DENIED);
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
