import { beforeEach, describe, expect, it } from 'vitest';
import { EngineIds, ServiceRoutes } from '../../src/agent/service-routes.js';
import { EngineRecorder } from './engine-recorder.js';

let engine: EngineRecorder;
let routes: ServiceRoutes;
let filtered: Set<string>;
let balancer: 'p2c' | 'round-robin';

beforeEach(() => {
  engine = new EngineRecorder();
  filtered = new Set();
  balancer = 'p2c';
  routes = new ServiceRoutes('outbound', engine.asEngine, new EngineIds(), {
    balancerOf: () => balancer,
    hasFilter: (_direction, service) => filtered.has(service),
  });
});

const candidate = (key: string, group = '', version = '') => ({
  ...{ key, group, version },
  endpoint: { address: `192.0.2.1:${key}`, weight: 1 },
});
const any = { group: '', version: '' };

describe('routes of a service', () => {
  it('an unknown service has none', () => {
    expect(routes.ensure('ledger', any)).toBeUndefined();
    expect(engine.said).toEqual([]);
  });

  it('a group names a cluster of its own with the instances that it takes in', () => {
    routes.add('ledger');
    routes.setCandidates('ledger', [
      candidate('1', 'blue'),
      candidate('2', 'green', '2'),
      candidate('3', 'green'),
    ]);
    const clusters = [
      routes.ensure('ledger', any),
      routes.ensure('ledger', { group: 'green', version: '' }),
      routes.ensure('ledger', { group: 'green', version: '2' }),
    ];
    expect(new Set(clusters).size).toBe(3);
    expect(clusters.map((id) => engine.clusters.get(id as number)?.endpoints.length)).toEqual([3, 2, 1]);
    expect(routes.ensure('ledger', any)).toBe(clusters[0]);
    expect(engine.flows.get('outbound ledger/green/2')).toMatchObject({
      cluster: clusters[2],
      upcall: false,
    });
  });

  it('news replace the members of every cluster; an instance keeps its number as long as it stays', () => {
    routes.add('ledger');
    routes.setCandidates('ledger', [candidate('1'), candidate('2')]);
    const id = routes.ensure('ledger', any) as number;
    const numberOf = (address: string): number | undefined =>
      engine.clusters.get(id)?.endpoints.find((e) => e.address === `192.0.2.1:${address}`)?.instanceId;
    const second = numberOf('2');
    routes.setCandidates('ledger', [candidate('2'), candidate('3')]);
    expect(numberOf('1')).toBeUndefined();
    expect(numberOf('2')).toBe(second);
    expect(routes.candidateOf(second as number)?.key).toBe('2');
    routes.setCandidates('ledger', []);
    expect(engine.clusters.get(id)?.endpoints).toEqual([]);
    expect(routes.candidateOf(second as number)?.key).toBeUndefined();
    // The same app started again is another instance, so nothing that was learnt about the old one sticks to it.
    routes.setCandidates('ledger', [candidate('2')]);
    expect(numberOf('2')).not.toBe(second);
  });

  it('groups that nobody serves make room for others, those that somebody serves do not', () => {
    routes.add('ledger');
    for (let i = 0; i < 64; i++)
      expect(routes.ensure('ledger', { group: `g${i}`, version: '' })).toBeDefined();
    expect(routes.ensure('ledger', { group: 'one more', version: '' })).toBeDefined();
    expect(engine.clusters.size).toBe(64);
    routes.setCandidates(
      'ledger',
      Array.from({ length: 70 }, (_, i) => candidate(String(i), `g${i}`)),
    );
    for (let i = 1; i < 64; i++) routes.ensure('ledger', { group: `g${i}`, version: '' });
    routes.ensure('ledger', { group: 'g64', version: '' });
    expect(routes.ensure('ledger', { group: 'g65', version: '' })).toBeUndefined();
    expect(engine.clusters.size).toBeLessThanOrEqual(64);
  });

  it('a changed configuration is said again for all of them', () => {
    routes.add('ledger');
    const id = routes.ensure('ledger', any) as number;
    balancer = 'round-robin';
    filtered.add('ledger');
    routes.refresh();
    expect(engine.clusters.get(id)?.balancer).toBe('round-robin');
    expect(engine.flows.get('outbound ledger//')).toMatchObject({ upcall: true });
  });

  it('a removed service takes its clusters along', () => {
    routes.add('ledger');
    routes.ensure('ledger', any);
    routes.ensure('ledger', { group: 'blue', version: '' });
    routes.remove('ledger');
    expect(engine.clusters.size).toBe(0);
    expect(engine.said).toContain('no service outbound ledger');
    expect(routes.ensure('ledger', any)).toBeUndefined();
  });
});
