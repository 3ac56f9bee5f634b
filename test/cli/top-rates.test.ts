// Rates between two looks at an agent: growth, what came new, counters that started anew.
import { describe, expect, it } from 'vitest';
import { linkRows, serviceRows } from '../../src/cli/top/rates.js';
import type { Look } from '../../src/cli/top/rates.js';
import type { FlowView, LinkView } from '../../src/observe/agent-view.js';

function flow(service: string, requests: number, failed = 0): FlowView {
  const byStatus = Array.from({ length: 17 }, (_, code) =>
    code === 14 ? failed : code === 0 ? requests - failed : 0,
  );
  const latency = { count: requests, sumUs: 0, meanUs: 0, p50Us: 60, p90Us: 80, p99Us: 90, p999Us: 99 };
  return {
    direction: 'outbound',
    service,
    group: '',
    cluster: '1',
    flags: [],
    requests,
    byStatus,
    latency,
    sketch: [],
  };
}

function link(id: string, requestsIn: number, bytesIn: number): LinkView {
  return {
    ...{ id, kind: 'shm', role: 'app', peer: 'uid 0 pid 1', app: 'a', state: 'open', sinceMs: 1, requestsIn },
    ...{ responsesOut: 0, bytesIn, bytesOut: 0, pending: 2, outboundBytes: 3 },
  };
}

const before: Look = {
  atMs: 1000,
  flows: [flow('a', 100, 10), flow('b', 500)],
  links: [link('1', 10, 1000)],
};
const after: Look = {
  atMs: 3000,
  flows: [flow('a', 300, 30), flow('b', 40), flow('c', 10)],
  links: [link('1', 30, 5000), link('2', 4, 100_000)],
};

describe('top', () => {
  it('shows services by rate, and failures beside', () => {
    const rows = serviceRows(before, after).map((r) => [r.service, r.requestsPerSecond, r.failedPerSecond]);
    expect(rows).toEqual([
      ['a', 100, 10],
      ['b', 20, 0], // was evicted and came back: counted from 0
      ['c', 5, 0],
    ]);
  });

  it('shows links by bytes', () => {
    const rows = linkRows(before, after).map((r) => [r.id, r.requestsPerSecond, r.bytesPerSecond, r.pending]);
    expect(rows).toEqual([
      ['2', 2, 50_000, 2],
      ['1', 10, 2000, 2],
    ]);
  });
});
