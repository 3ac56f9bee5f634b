// `ringside status`: what the agent's admin server knows, as tables for people or as one JSON object. Goes on over a takeover.
import { shownText } from '../base/shown.js';
import type {
  ClusterView,
  FlowView,
  HandoffView,
  IdentityView,
  LimitView,
  LinkView,
  ProgramView,
  ReadyView,
  RegistryView,
} from '../observe/agent-view.js';
import { askAdmin, askIfKnown } from './ask-admin.js';
import { print, printJson } from './output.js';
import { tableOf } from './table.js';
import type { Cell } from './table.js';

/** How often everything is asked again because another process has taken over meanwhile. */
const lookAgainTimes = 3;

export async function runStatus({ admin, json }: { admin: string; json?: boolean }): Promise<void> {
  const status = await consistentLook(admin);
  if (json) {
    printJson(status);
    return;
  }
  const { agent, ready, links, clusters, flows, counters, limits, registry, programs, handoff } = status;
  print(shownText(ready.ok ? 'ready' : `not ready: ${ready.reasons.join('; ')}`));
  // An agent of an older build names none.
  for (const warning of ready.warnings ?? []) print(shownText(`warning: ${warning}`));
  if (agent !== undefined) print(identityLine(agent));
  print(shownText(registryLine(registry)));
  for (const { service, instances } of registry.protected) {
    print(
      `  protected: ${instances} instances of ${shownText(service)} serve on although the registry lost them`,
    );
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

/** One look at one process: where another one took over in the middle, everything is asked again. */
async function consistentLook(admin: string) {
  for (let again = 0; ; again++) {
    const before = await askIfKnown<IdentityView>(admin, '/agent');
    const looked = await lookAt(admin);
    const after = before && (await askIfKnown<IdentityView>(admin, '/agent'));
    if (before?.pid === after?.pid || again === lookAgainTimes)
      return { ...(after === undefined ? {} : { agent: after }), ...looked };
  }
}

async function lookAt(admin: string) {
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
  return { ready, links, clusters, flows, counters, limits, registry, programs, handoff };
}

/** Which agent this is, on one line: `status` and `top` begin with it. */
export function identityLine({ version, commit, app, pid, uptimeMs, configHash }: IdentityView): string {
  return [
    `ringside ${version}${commit === null ? '' : ` (${commit})`}`,
    ...(app === '' ? [] : [`app ${shownText(app)}`]),
    `pid ${pid}`,
    `up ${duration(uptimeMs)}`,
    `config ${configHash}`,
  ].join(', ');
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(
    Math.floor,
  ) as [number, number, number];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
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

function section(title: string, head: string[], rows: readonly (readonly Cell[])[]): void {
  print(`\n${title}${rows.length === 0 ? ': none' : ''}`);
  if (rows.length > 0) print(tableOf(head, rows));
}
