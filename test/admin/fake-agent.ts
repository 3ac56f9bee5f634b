/** An agent view with one of everything, for the tests of the admin server; tests replace what they look at. */
import type { AgentView, FlowView } from '../../src/observe/agent-view.js';
import { bucketOf, summarize } from '../../src/observe/sketch.js';

export function flowOf(change: Partial<FlowView> & { latenciesUs?: number[] } = {}): FlowView {
  const { latenciesUs = [80, 80, 900], ...rest } = change;
  const sketch = latenciesUs.map((us) => [bucketOf(us), 1] as const);
  const byStatus = Array.from({ length: 17 }, () => 0);
  byStatus[0] = latenciesUs.length;
  return {
    direction: 'outbound',
    service: 'orders',
    method: 'get',
    cluster: 'c1',
    flags: [],
    requests: latenciesUs.length,
    byStatus,
    latency: summarize(
      sketch,
      latenciesUs.reduce((sum, us) => sum + us, 0),
    ),
    sketch,
    ...rest,
  };
}

export function fakeAgent(change: Partial<AgentView> = {}): AgentView {
  return {
    identity: () =>
      Promise.resolve({
        ...{ version: '1.2.3', commit: 'abcdef012345', node: 'v20.19.0', pid: 7, uptimeMs: 61_000 },
        ...{ app: 'shop', configHash: '0123456789ab' },
      }),
    ready: () => Promise.resolve({ ok: true, reasons: [], warnings: [] }),
    links: () =>
      Promise.resolve([
        {
          id: '1.1',
          kind: 'shm',
          role: 'app',
          peer: 'pid 7 uid 1000',
          app: 'shop "\n" \\',
          state: 'open',
          sinceMs: 12,
          requestsIn: 3,
          responsesOut: 3,
          bytesIn: 100,
          bytesOut: 200,
          pending: 2,
          outboundBytes: 64,
        },
      ]),
    clusters: () =>
      Promise.resolve([
        {
          id: 'c1',
          service: 'orders',
          group: '',
          direction: 'outbound',
          balancer: 'p2c',
          endpoints: [
            {
              id: 'a',
              address: '10.0.0.1:15101',
              zone: 'east',
              link: null,
              weight: 100,
              inFlight: 0,
              state: 'idle',
              requests: 3,
              failures: 0,
            },
            {
              id: 'b',
              address: '10.0.0.2:15101',
              zone: '',
              link: '2.1',
              weight: 100,
              inFlight: 1,
              state: 'ready',
              requests: 3,
              failures: 0,
            },
          ],
        },
      ]),
    flows: () =>
      Promise.resolve([flowOf(), flowOf({ direction: 'inbound', service: 'we"ird\\\n', method: 'x' })]),
    programs: () =>
      Promise.resolve([
        {
          ...{ service: 'orders', group: '', protocol: 'mesh', address: '127.0.0.1:7001' },
          ...{ state: 'failing', problem: 'it does not answer' },
        },
      ]),
    counters: () =>
      Promise.resolve({ upcalls: 4, flow_hits: 10, protocol_errors: 0, 'odd-Name': 1, seen_total: 2 }),
    handoff: () =>
      Promise.resolve({
        done: 3,
        failed: 1,
        last: { freezeUs: 1500, links: 7, pending: 4, parked: 1 },
      }),
    limits: () => Promise.resolve([{ name: 'links', used: 1, max: 4096 }]),
    registry: () =>
      Promise.resolve({
        ...{ kind: 'redis', address: 'redis://127.0.0.1:6379', connected: true, problem: null },
        ...{ services: 2, instances: 5, read: 7, registered: 1, offline: 1, fromDisk: 0 },
        protected: [{ service: 'orders', instances: 3 }],
      }),
    config: () => Promise.resolve({ app: 'shop', loopback: { token: 'hunter2-hunter2', port: 15100 } }),
    ...change,
  };
}
