import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { FlowView } from '../../src/observe/agent-view.js';
import { FlowTotals, OTHER_SERVICES, UNKNOWN_SERVICES } from '../../src/admin/flow-totals.js';
import { AgentMetrics } from '../../src/admin/metrics.js';
import { fakeAgent, flowOf } from './fake-agent.js';

const linesOf = (text: string, name: string) => text.split('\n').filter((line) => line.startsWith(name));
const promtool = spawnSync('promtool', ['--version']).status === 0;
if (!promtool) console.warn('SKIPPED: promtool is not installed, the metrics were not checked with it');

describe('the metrics', () => {
  it('tell requests, latencies, links, endpoints, limits and counters', async () => {
    const text = await new AgentMetrics(fakeAgent()).scrape();
    expect(text).toContain('ringside_requests_total{direction="outbound",service="orders",status="OK"} 3');
    expect(text).toContain(
      'ringside_request_duration_seconds_bucket{direction="outbound",service="orders",le="0.0001"} 2',
    );
    expect(text).toContain(
      'ringside_request_duration_seconds_bucket{direction="outbound",service="orders",le="0.001"} 3',
    );
    expect(text).toContain(
      'ringside_request_duration_seconds_bucket{direction="outbound",service="orders",le="+Inf"} 3',
    );
    expect(text).toContain(
      'ringside_request_duration_seconds_count{direction="outbound",service="orders"} 3',
    );
    expect(text).toContain(
      'ringside_request_duration_seconds_sum{direction="outbound",service="orders"} 0.00106',
    );
    expect(text).toContain('ringside_links{kind="shm",role="app"} 1');
    expect(text).toContain('ringside_pending_requests{role="app"} 2');
    expect(text).toContain('ringside_outbound_bytes{role="app"} 64');
    expect(text).toContain(
      'ringside_endpoints{direction="outbound",service="orders",group="",state="ready"} 1',
    );
    expect(text).toContain('ringside_limit_used{limit="links"} 1');
    expect(text).toContain('ringside_limit_max{limit="links"} 4096');
    expect(text).toContain('ringside_engine_upcalls_total 4');
    expect(text).toContain('ringside_engine_odd_name_total 1');
    expect(text).toContain('ringside_engine_seen_total 2');
    expect(text).toContain('ringside_ready 1');
    expect(text).toContain('ringside_handoffs_total{outcome="done"} 3');
    expect(text).toContain('ringside_handoffs_total{outcome="failed"} 1');
    expect(text).toContain('ringside_handoff_freeze_seconds 0.0015');
    expect(text).toContain('ringside_handoff_links 7');
    expect(text).toContain('ringside_handoff_pending_requests 5');
    expect(Number(linesOf(text, 'process_resident_memory_bytes ')[0]?.split(' ')[1])).toBeGreaterThan(1e6);
  });

  it('say the same twice, and forget what is gone', async () => {
    let links = await fakeAgent().links();
    const metrics = new AgentMetrics(fakeAgent({ links: () => Promise.resolve(links) }));
    const first = linesOf(await metrics.scrape(), 'ringside_');
    expect(linesOf(await metrics.scrape(), 'ringside_')).toEqual(first);
    links = [];
    expect(linesOf(await metrics.scrape(), 'ringside_links')).toEqual([]);
  });

  it('are right when scraped by several at once', async () => {
    const metrics = new AgentMetrics(fakeAgent());
    const texts = await Promise.all(Array.from({ length: 8 }, () => metrics.scrape()));
    for (const text of texts) expect(text).toContain('service="orders",status="OK"} 3');
  });

  it('do not count twice when an older look comes after a newer one', async () => {
    const release: ((flows: FlowView[]) => void)[] = [];
    const metrics = new AgentMetrics(
      fakeAgent({ flows: () => new Promise((resolve) => release.push(resolve)) }),
    );
    const [older, newer] = [metrics.scrape(), metrics.scrape()];
    release[1]?.([flowOf({ latenciesUs: Array<number>(10).fill(80) })]);
    expect(await newer).toContain('status="OK"} 10');
    release[0]?.([flowOf({ latenciesUs: Array<number>(9).fill(80) })]);
    expect(await older).toContain('status="OK"} 10');
  });

  it.runIf(promtool)('are clean to promtool', async () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: await new AgentMetrics(fakeAgent()).scrape(),
      encoding: 'utf8',
    });
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });
});

describe('totals', () => {
  const nobody = new Set<string>();
  const requestsOf = (totals: FlowTotals) =>
    totals.all().map(({ service, byStatus }) => [service, byStatus[0]]);

  it('grow by what flows counted since, also when a flow begins again', () => {
    const totals = new FlowTotals();
    totals.add([flowOf({ latenciesUs: [1, 2, 3] })], nobody);
    totals.add([flowOf({ latenciesUs: [1, 2, 3, 4] })], nobody);
    expect(requestsOf(totals)).toEqual([['orders', 4]]);
    totals.add([], nobody);
    expect(requestsOf(totals)).toEqual([['orders', 4]]);
    totals.add([flowOf({ latenciesUs: [1, 2] })], nobody);
    expect(requestsOf(totals)).toEqual([['orders', 6]]);
    totals.add([flowOf({ latenciesUs: [1] })], nobody);
    expect(requestsOf(totals)).toEqual([['orders', 7]]);
    expect(totals.all()[0]?.latencyCount).toBe(7);
  });

  it('add up the flows of one service, and keep directions apart', () => {
    const totals = new FlowTotals();
    totals.add([flowOf(), flowOf({ method: 'put' }), flowOf({ direction: 'inbound' })], nobody);
    expect(totals.all().map(({ direction, byStatus }) => [direction, byStatus[0]])).toEqual([
      ['outbound', 6],
      ['inbound', 3],
    ]);
  });

  it('put what callers invent under one name, until somebody serves it', () => {
    const totals = new FlowTotals();
    const failed = (service: string, unavailable: number) => {
      const byStatus = Array.from({ length: 17 }, () => 0);
      byStatus[14] = unavailable;
      return flowOf({ service, latenciesUs: [], requests: unavailable, byStatus });
    };
    totals.add(
      [...Array.from({ length: 900 }, (_, i) => failed(`invented-${i}`, 1)), failed('served', 1)],
      new Set(['outbound served', 'inbound invented-0']),
    );
    const shown = () => totals.all().map(({ service, byStatus }) => [service, byStatus[14]]);
    expect(shown()).toEqual([
      [UNKNOWN_SERVICES, 900],
      ['served', 1],
    ]);
    // One that lost its last instance keeps its name; one that got its first has its own from now on.
    totals.add([failed('served', 3), failed('invented-7', 2)], new Set(['outbound invented-7']));
    expect(shown()).toEqual([
      [UNKNOWN_SERVICES, 900],
      ['served', 3],
      ['invented-7', 1],
    ]);
  });

  it('are bounded however many services there are', () => {
    const totals = new FlowTotals(3);
    for (let round = 0; round < 2; round++) {
      totals.add(
        Array.from({ length: 100 }, (_, i) => flowOf({ service: `s${i}`, latenciesUs: [1] })),
        nobody,
      );
    }
    expect(requestsOf(totals)).toEqual([
      ['s0', 1],
      ['s1', 1],
      ['s2', 1],
      [OTHER_SERVICES, 97],
    ]);
  });
});
