// Which services are watched, and what the engine is told of one whose list has not been read: that its requests wait, and why.
import { beforeEach, expect, it } from 'vitest';
import { Outbound } from '../../src/agent/outbound.js';
import { EngineIds, ServiceRoutes } from '../../src/agent/service-routes.js';
import type { Instance } from '../../src/registry/instance.js';
import type { InstancesListener, Registry } from '../../src/registry/registry.js';
import { instanceOf } from '../registry/registry-fixture.js';
import { EngineRecorder } from './engine-recorder.js';

const any = { group: '', version: '' };
let engine: EngineRecorder;
let outbound: Outbound;
let listeners: Map<string, InstancesListener>;
let problem: string | null;
let known: Map<string, readonly Instance[]>;

beforeEach(() => {
  engine = new EngineRecorder();
  listeners = new Map();
  known = new Map();
  problem = null;
  const routes = new ServiceRoutes('outbound', engine.asEngine, new EngineIds(), {
    balancerOf: () => 'p2c',
    hasFilter: () => false,
  });
  const registry = {
    place: 'the registry at test',
    get problem() {
      return problem;
    },
    watch(service: string, _group: undefined, listener: InstancesListener) {
      listeners.set(service, listener);
      const list = known.get(service);
      if (list !== undefined) listener(list);
      return () => listeners.delete(service);
    },
  } as unknown as Registry;
  outbound = new Outbound(routes, registry, 2);
});

const awaited = (service: string): string | undefined =>
  [...engine.clusters.values()].find((cluster) => cluster.service === service)?.awaited;

it('a service is awaited until its first list has come, also an empty one', () => {
  outbound.clusterOf('orders', any);
  expect(awaited('orders')).toBe('the registry at test has not answered yet');
  listeners.get('orders')?.([]);
  expect(awaited('orders')).toBe('');
  known.set('stock', [instanceOf({ service: 'stock' })]);
  outbound.clusterOf('stock', any);
  expect(awaited('stock')).toBe('');
});

it('those that wait are told what is wrong with the registry, as it changes', () => {
  problem = 'connection refused';
  outbound.clusterOf('orders', any);
  expect(awaited('orders')).toBe('the registry at test has not answered yet: connection refused');
  problem = 'wrong password';
  outbound.registryChanged();
  expect(awaited('orders')).toBe('the registry at test has not answered yet: wrong password');
  listeners.get('orders')?.([]);
  problem = null;
  outbound.registryChanged();
  expect(awaited('orders')).toBe('');
});

it('one that was forgotten is awaited anew', () => {
  known.set('orders', []);
  outbound.clusterOf('orders', any);
  known.set('stock', [instanceOf({ service: 'stock' })]);
  outbound.clusterOf('stock', any);
  known.delete('orders');
  outbound.clusterOf('ledger', any);
  expect(listeners.has('orders')).toBe(false);
  known.set('ledger', []);
  listeners.get('ledger')?.([]);
  outbound.clusterOf('orders', any);
  expect(awaited('orders')).toBe('the registry at test has not answered yet');
});

it('names that nobody serves make room before those that are awaited', () => {
  outbound.clusterOf('awaited', any);
  known.set('nobody', []);
  outbound.clusterOf('nobody', any);
  outbound.clusterOf('next', any);
  expect([...listeners.keys()]).toEqual(['awaited', 'next']);
  outbound.clusterOf('one-more', any);
  expect([...listeners.keys()]).toEqual(['next', 'one-more']);
});

it('after a takeover a service without instances is awaited until this process has read its list', () => {
  const candidate = {
    ...{ key: 'a@1', group: '', version: '', zone: '', instanceId: 7 },
    endpoint: { address: '192.0.2.1:1', weight: 1 },
  };
  outbound.adopt([
    { service: 'unread', routes: [{ ...any, cluster: 1 }], candidates: [] },
    { service: 'served', routes: [{ ...any, cluster: 2 }], candidates: [candidate] },
  ]);
  expect(awaited('unread')).toBe('the registry at test has not answered yet');
  expect(awaited('served')).toBe('');
  listeners.get('unread')?.([]);
  expect(awaited('unread')).toBe('');
});
