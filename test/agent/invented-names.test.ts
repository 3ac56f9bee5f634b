// Names that callers invent: they are forgotten, and never keep a service that somebody serves from being found.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Outbound } from '../../src/agent/outbound.js';
import { EngineIds, ServiceRoutes } from '../../src/agent/service-routes.js';
import type { Instance } from '../../src/registry/instance.js';
import type { InstancesListener, Registry } from '../../src/registry/registry.js';
import { instanceOf } from '../registry/registry-fixture.js';
import { EngineRecorder } from './engine-recorder.js';

const maxServices = 100;
const any = { group: '', version: '' };
let engine: EngineRecorder;
let routes: ServiceRoutes;
let outbound: Outbound;
let watched: Map<string, InstancesListener>;
let served: Map<string, Instance[]>;

beforeEach(() => {
  vi.useFakeTimers();
  engine = new EngineRecorder();
  watched = new Map();
  served = new Map();
  routes = new ServiceRoutes('outbound', engine.asEngine, new EngineIds(), {
    balancerOf: () => 'p2c',
    hasFilter: () => false,
  });
  const registry = {
    problem: null,
    place: 'the registry',
    watch: (service: string, _group: string | undefined, listener: InstancesListener) => {
      watched.set(service, listener);
      listener(served.get(service) ?? []);
      return () => watched.delete(service);
    },
  };
  outbound = new Outbound(routes, registry as unknown as Registry, maxServices);
});
afterEach(() => {
  outbound.close();
  vi.useRealTimers();
});

it('more invented names than limits.services do not keep a service from being found, and are watched no more after a while', () => {
  served.set('ledger', [instanceOf({ id: 'a', service: 'ledger' })]);
  outbound.clusterOf('ledger', any);
  for (let i = 0; i < 900; i++) expect(outbound.clusterOf(`invented-${i}`, any)).toBeDefined();
  served.set('orders', [instanceOf({ id: 'b', service: 'orders' })]);
  expect(outbound.clusterOf('orders', any)).toBeDefined();
  expect(routes.size).toBe(maxServices);
  vi.advanceTimersByTime(20_000);
  expect(watched.size).toBe(maxServices);
  vi.advanceTimersByTime(20_000);
  expect([...watched.keys()]).toEqual(['ledger', 'orders']);
  expect(routes.size).toBe(2);
  expect(engine.clusters.size).toBe(2);
});

it('a service whose last instance went is forgotten later, and found again when one comes back', () => {
  served.set('ledger', [instanceOf({ id: 'a', service: 'ledger' })]);
  outbound.clusterOf('ledger', any);
  vi.advanceTimersByTime(60_000);
  watched.get('ledger')?.([]);
  vi.advanceTimersByTime(25_000);
  watched.get('ledger')?.([instanceOf({ id: 'b', service: 'ledger' })]);
  vi.advanceTimersByTime(60_000);
  expect(routes.has('ledger')).toBe(true);
  watched.get('ledger')?.([]);
  vi.advanceTimersByTime(40_000);
  expect(routes.has('ledger')).toBe(false);
  outbound.clusterOf('ledger', any);
  expect(engine.endpoints('ledger')).toHaveLength(1);
});
