// `ringside status`: what the agent's admin server knows, as tables for people or as one JSON object.
import Table from 'cli-table3';
import type {
  ClusterView,
  FlowView,
  HandoffView,
  LimitView,
  LinkView,
  ProgramView,
  ReadyView,
  RegistryView,
} from '../observe/agent-view.js';
import { askAdmin } from './ask-admin.js';

export async function runStatus({ admin, json }: { admin: string; json?: boolean }): Promise<void> {
  const ask = <T>(path: string): Promise<T> => askAdmin<T>(admin, path);
  const [ready, links, clusters, flows, counters, limits, registry, programs, handoff] = await Promise.all([
    ask<ReadyView>('/ready'),
    ask<LinkView[]>('/links'),
    ask<ClusterView[]>('/clusters'),
    ask<FlowView[]>('/flows'),
    ask<Record<string, number>>('/counters'),
    ask<LimitView[]>('/limits'),
    ask<RegistryView>('/registry'),
    ask<ProgramView[]>('/programs'),
    ask<HandoffView>('/handoff'),
  ]);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ready, links, clusters, flows, counters, limits, registry, programs, handoff })}\n`,
    );
    return;
  }
  print(ready.ok ? 'ready' : `not ready: ${ready.reasons.join('; ')}`);
  print(registryLine(registry));
  for (const { service, instances } of registry.protected) {
    print(`  protected: ${instances} instances of ${service} serve on although the registry lost them`);
  }
  for (const line of handoffLine(handoff)) print(line);
  section(
    'links',
    ['id', 'kind', 'role', 'app', 'peer', 'state', 'requests in', 'replies out', 'pending', 'queued B'],
    links.map((l) => [
      ...[l.id, l.kind, l.role, l.app, l.peer, l.state],
      ...[l.requestsIn, l.responsesOut, l.pending, l.outboundBytes],
    ]),
  );
  if (programs.length > 0) {
    section(
      'programs',
      ['service', 'group', 'protocol', 'address', 'state', 'problem'],
      programs.map((p) => [p.service, p.group, p.protocol, p.address, p.state, p.problem ?? '']),
    );
  }
  section(
    'clusters',
    ['direction', 'service', 'group', 'balancer', 'endpoint', 'state', 'in flight', 'requests', 'failures'],
    clusters.flatMap((c) =>
      c.endpoints.length === 0
        ? [[c.direction, c.service, c.group, c.balancer, '(none)', '', '', '', '']]
        : c.endpoints.map((e) => [
            ...[
              c.direction,
              c.service,
              c.group,
              c.balancer,
              e.address ?? `app on link ${e.link ?? '?'}`,
              e.state,
            ],
            ...[e.inFlight, e.requests, e.failures],
          ]),
    ),
  );
  section(
    'flows',
    ['direction', 'service', 'group', 'flags', 'requests', 'failed', 'p50 µs', 'p99 µs'],
    flows.map((f) => [
      ...[f.direction, f.service, f.group ?? '', f.flags.join(' '), f.requests],
      f.byStatus.slice(1).reduce((total, count) => total + count, 0),
      ...[Math.round(f.latency.p50Us), Math.round(f.latency.p99Us)],
    ]),
  );
  section(
    'limits',
    ['limit', 'used', 'max'],
    limits.map(({ name, used, max }) => [name, used, max]),
  );
  section(
    'counters',
    ['counter', 'value'],
    Object.entries(counters).filter(([, value]) => value > 0),
  );
}

function registryLine(registry: RegistryView): string {
  const { kind, address, connected, problem, services, instances, registered, offline, fromDisk } = registry;
  const parts = [
    `registry ${kind} ${address}: ${connected ? 'connected' : 'NOT connected'}`,
    `${registered} registered, ${services} services watched with ${instances} instances`,
    ...(offline > 0 ? [`${offline} taken out by the watcher`] : []),
    ...(fromDisk > 0 ? [`${fromDisk} lists from disk`] : []),
    ...(problem === null ? [] : [problem]),
  ];
  return parts.join('; ');
}

function handoffLine({ done, failed, last }: HandoffView): string[] {
  if (done === 0 && failed === 0) return [];
  const moved =
    last === null
      ? ''
      : `; the last one stood still for ${(last.freezeUs / 1000).toFixed(1)} ms and moved ${last.links} links, ` +
        `${last.pending + last.parked} requests`;
  return [`taken over ${done} times, ${failed} attempts failed${moved}`];
}

function section(title: string, head: string[], rows: (string | number)[][]): void {
  print(`\n${title}${rows.length === 0 ? ': none' : ''}`);
  if (rows.length === 0) return;
  const table = new Table({ head, style: { head: [], border: [], compact: true } });
  table.push(...rows);
  print(table.toString());
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
