import { beforeEach, describe, expect, it } from 'vitest';
import { Inbound } from '../../src/agent/inbound.js';
import { EngineIds, ServiceRoutes } from '../../src/agent/service-routes.js';
import type { Instance } from '../../src/registry/instance.js';
import type { Registration, Registry } from '../../src/registry/registry.js';
import { EngineRecorder } from './engine-recorder.js';

const maxPublications = 3;
let engine: EngineRecorder;
let routes: ServiceRoutes;
let inbound: Inbound;
let registered: Instance[];
/** Registrations wait here while `slow` is set. */
let slow: boolean;
let waiting: (() => void)[];
let refuse: Error | undefined;

beforeEach(() => {
  engine = new EngineRecorder();
  registered = [];
  slow = false;
  waiting = [];
  refuse = undefined;
  const registry = {
    async register(instance: Instance): Promise<Registration> {
      if (slow) await new Promise<void>((resolve) => waiting.push(resolve));
      if (refuse) throw refuse;
      registered.push(instance);
      engine.said.push(`registered ${instance.service}`);
      return {
        instance,
        update: async () => undefined,
        deregister: async () => {
          const at = registered.indexOf(instance);
          if (at < 0) return;
          registered.splice(at, 1);
          engine.said.push(`deregistered ${instance.service}`);
        },
      };
    },
  } as unknown as Registry;
  const policy = { balancerOf: () => 'p2c' as const, hasFilter: () => false };
  routes = new ServiceRoutes('inbound', engine.asEngine, new EngineIds(), policy);
  const advertised = { host: '192.0.2.1', port: 15101, zone: 'east' };
  inbound = new Inbound(
    engine.asEngine,
    routes,
    registry,
    'shop',
    advertised,
    maxPublications,
    () => undefined,
  );
});

const offer = (service = 'ledger', group = '') => ({ service, group, version: '', weight: 100 });
const ensure = (service = 'ledger', group = ''): number | undefined =>
  inbound.clusterOf(service, { group, version: '' });
/** Lets everything run that waits for nothing but promises. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('publishing', () => {
  it('makes an app reachable before others can find it, under the agent’s address', async () => {
    routes.add('ledger');
    ensure();
    engine.said.length = 0;
    const id = await inbound.publish({ link: 7 }, offer());
    expect(engine.said).toEqual(['cluster ledger/: 7', 'registered ledger']);
    expect(registered).toEqual([
      expect.objectContaining({ id, service: 'ledger', host: '192.0.2.1', port: 15101, app: 'shop' }),
    ]);
  });

  it('has all who serve it in one cluster before anybody asks, so that the engine knows when nobody does', async () => {
    await inbound.publish({ link: 7 }, offer('ledger', 'blue'));
    await inbound.publish({ link: 8 }, offer('ledger', 'green'));
    expect(engine.said).toContain('cluster ledger/: 7 8');
    inbound.linkDown(7);
    expect(engine.said).toContain('cluster ledger/: 8');
  });

  it('again on the same link replaces the earlier offer', async () => {
    await inbound.publish({ link: 7 }, offer());
    await inbound.publish({ link: 7 }, { ...offer(), weight: 5 });
    expect(inbound.size).toBe(1);
    expect(registered.map(({ weight }) => weight)).toEqual([5]);
  });

  it('that the registry refuses leaves nothing', async () => {
    refuse = new Error('disk full');
    await expect(inbound.publish({ link: 7 }, offer())).rejects.toThrow('disk full');
    expect(inbound.size).toBe(0);
    ensure();
    expect(engine.endpoints('ledger')).toEqual([]);
  });

  it('is bounded, and the bound is named', async () => {
    for (let i = 0; i < maxPublications; i++) await inbound.publish({ link: i }, offer(`s${i}`));
    await expect(inbound.publish({ link: 9 }, offer('more'))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      mayHaveRun: false,
      message: expect.stringContaining('limits.publications') as string,
    });
    await expect(inbound.publish({ link: 0 }, offer('s0'))).resolves.toEqual(expect.any(String));
  });

  it('leaves room for other applications, however many one makes', async () => {
    const registry = { register: (instance: Instance) => Promise.resolve({ instance }) };
    const shared = new Inbound(
      engine.asEngine,
      routes,
      registry as unknown as Registry,
      'shop',
      { host: '192.0.2.1', port: 15101, zone: '' },
      40,
      () => undefined,
    );
    const greedily = async (link: number): Promise<unknown> => {
      for (let i = 0; ; i++) {
        const refused = await shared.publish({ link }, offer(`s${link}-${i}`)).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (refused !== undefined) return refused;
      }
    };
    for (const link of [1, 2]) {
      expect(await greedily(link)).toMatchObject({
        status: 'RESOURCE_EXHAUSTED',
        message: expect.stringContaining('limits.publications') as string,
      });
    }
    await shared.publish({ link: 3 }, offer('honest'));
    expect(shared.size).toBeGreaterThan(32);
  });

  it('while the link dies ends with nothing registered', async () => {
    slow = true;
    const publishing = inbound.publish({ link: 7 }, offer());
    inbound.linkDown(7);
    for (const go of waiting) go();
    await publishing;
    expect(registered).toEqual([]);
    expect(inbound.size).toBe(0);
  });
});

describe('leaving', () => {
  const refusal = {
    status: 'UNAVAILABLE',
    mayHaveRun: false,
    message: expect.stringContaining('draining') as string,
  };

  it('takes everything out of the registry, serves on, and publishes nothing any more', async () => {
    await inbound.publish({ link: 7 }, offer());
    ensure();
    expect(inbound.instances()).toEqual([expect.objectContaining({ service: 'ledger' })]);
    await inbound.deregisterAll();
    expect(registered).toEqual([]);
    expect(engine.endpoints('ledger')).toEqual([7]);
    await expect(inbound.publish({ link: 7 }, offer('users'))).rejects.toMatchObject(refusal);
    expect(inbound.size).toBe(1);
  });

  it('leaves nothing in the registry of a publication that was under way', async () => {
    slow = true;
    const publishing = inbound.publish({ link: 7 }, offer());
    await inbound.deregisterAll();
    for (const go of waiting) go();
    await expect(publishing).rejects.toMatchObject(refusal);
    expect(registered).toEqual([]);
    expect(inbound.size).toBe(0);
  });
});

describe('unpublishing', () => {
  it('the last instance goes in the order that loses no request', async () => {
    await inbound.publish({ link: 7 }, offer());
    ensure();
    engine.said.length = 0;
    const done = inbound.unpublish({ link: 7 }, offer());
    await settle();
    expect(engine.said).toEqual(['deregistered ledger', 'go-away ledger']);
    expect(engine.endpoints('ledger')).toEqual([7]);
    engine.acknowledge();
    await done;
    expect(engine.endpoints('ledger')).toEqual([]);
    expect(engine.said.at(-1)).toBe('flush');
  });

  it('one of two needs no go-away: the other takes its requests', async () => {
    await inbound.publish({ link: 7 }, offer());
    await inbound.publish({ link: 8 }, offer());
    ensure();
    await inbound.unpublish({ link: 7 }, offer());
    expect(engine.said.filter((text) => text.startsWith('go-away'))).toEqual([]);
    expect(engine.endpoints('ledger')).toEqual([8]);
    expect(registered).toHaveLength(1);
  });

  it('what was never published does nothing', async () => {
    await inbound.publish({ link: 7 }, offer());
    engine.said.length = 0;
    await inbound.unpublish({ link: 8 }, offer());
    await inbound.unpublish({ link: 7 }, offer('other'));
    await inbound.unpublish({ link: 7 }, offer('ledger', 'blue'));
    expect(engine.said).toEqual([]);
  });
});

describe('a service that nobody here serves', () => {
  const goAways = (): string[] => engine.said.filter((text) => text.startsWith('go-away'));

  it('is announced to others when the last link that served it is lost', async () => {
    await inbound.publish({ link: 7 }, offer());
    await inbound.publish({ link: 7 }, offer('users'));
    await inbound.publish({ link: 8 }, offer('users'));
    inbound.linkDown(7);
    await settle();
    expect(goAways()).toEqual(['go-away ledger']);
    expect(registered.map(({ service }) => service)).toEqual(['users']);
    inbound.linkDown(99);
    expect(goAways()).toHaveLength(1);
  });

  it('is announced to those who ask for it, once at a time', async () => {
    expect(ensure('ledger')).toBeUndefined();
    expect(ensure('ledger')).toBeUndefined();
    expect(goAways()).toEqual(['go-away ledger']);
    engine.acknowledge();
    await settle();
    ensure('ledger');
    expect(goAways()).toHaveLength(2);
  });

  it('may be asked for under a thousand names without a thousand announcements', () => {
    for (let i = 0; i < 1_000; i++) ensure(`invented-${i}`);
    expect(goAways().length).toBeLessThan(30);
    expect(routes.size).toBe(0);
  });
});
