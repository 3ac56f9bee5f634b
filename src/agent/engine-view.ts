// The running agent as the admin server sees it: the engine's statistics in the words of src/observe/agent-view.ts.
import type {
  AgentView,
  ClusterView,
  FlowView,
  HandoffView,
  IdentityView,
  LimitView,
  LinkView,
  ReadyView,
} from '../observe/agent-view.js';
import { buildInfo } from '../base/build-info.js';
import { configHash } from '../config/config-hash.js';
import type { AgentConfig } from '../config/resolve-config.js';
import type { Engine } from '../native/engine.js';
import type { Registry } from '../registry/registry.js';
import type { EngineStats } from '../native/engine-stats.js';
import { summarize } from '../observe/sketch.js';
import type { Deciders } from './deciders.js';
import type { ServiceRoutes } from './service-routes.js';

/** What the view asks the agent for. */
export interface ViewedAgent {
  readonly engine: Engine;
  readonly outboundRoutes: ServiceRoutes;
  readonly inboundRoutes: ServiceRoutes;
  readonly config: AgentConfig;
  readonly registry: Registry;
  readonly deciders: Deciders;
  readonly handoff: HandoffView;
  ready(): ReadyView;
}

/** A view of a running agent; each call asks the engine, calls at the same moment share one answer. */
export function viewOf(agent: ViewedAgent): AgentView {
  let asking: Promise<EngineStats> | undefined;
  const stats = (): Promise<EngineStats> => {
    asking ??= agent.engine.stats().finally(() => (asking = undefined));
    return asking;
  };
  return {
    identity: () => Promise.resolve(identityOf(agent.config)),
    ready: () => Promise.resolve(agent.ready()),
    config: () => Promise.resolve(agent.config),
    links: async () => (await stats()).links.map(linkView),
    clusters: async () => clusterViews(await stats(), agent),
    flows: async () => (await stats()).flows.map(flowView),
    counters: async () => (await stats()).counters,
    limits: async () => [...(await stats()).limits, ...ownLimits(agent)],
    registry: () => Promise.resolve(agent.registry.view()),
    programs: () => Promise.resolve(agent.deciders.programs.view()),
    handoff: () => Promise.resolve(agent.handoff),
  };
}

/** Which agent this is; also what it logs when it starts. */
export function identityOf(config: AgentConfig): IdentityView {
  return {
    ...buildInfo(),
    ...{ node: process.version, pid: process.pid, uptimeMs: Math.round(performance.now()) },
    ...{ app: config.app, configHash: configHash(config) },
  };
}

/** Bounds that the engine does not keep; both kinds of publications have as many each. */
function ownLimits({ config, registry, deciders }: ViewedAgent): LimitView[] {
  const { limits } = config;
  const { services, read } = registry.view();
  const published = Math.max(deciders.inbound.size, deciders.legacyDirectory.size);
  return [
    { name: 'services', used: services, max: limits.services },
    { name: 'publications', used: published, max: limits.publications },
    { name: 'instances', used: read, max: limits.instances },
  ];
}

function linkView({ link, pendingUp, pendingDown, ...rest }: EngineStats['links'][number]): LinkView {
  return { id: String(link), ...rest, pending: pendingUp + pendingDown };
}

function clusterViews({ clusters, links }: EngineStats, agent: ViewedAgent): ClusterView[] {
  const linkOf = new Map(links.map((link) => [link.peer, String(link.link)]));
  return clusters.map(({ id, direction, balancer, service, group, endpoints }) => {
    const routes = direction === 'outbound' ? agent.outboundRoutes : agent.inboundRoutes;
    return {
      ...{ id: String(id), direction, balancer, service, group },
      endpoints: endpoints.map((endpoint) => ({
        id: routes.candidateOf(endpoint.instanceId)?.key ?? String(endpoint.instanceId),
        address: endpoint.local ? null : endpoint.where,
        zone: routes.candidateOf(endpoint.instanceId)?.zone ?? '',
        link: linkOf.get(endpoint.where) ?? null,
        weight: endpoint.weight,
        inFlight: endpoint.inFlight,
        state: endpoint.state,
        requests: endpoint.requests,
        failures: endpoint.failures,
      })),
    };
  });
}

function flowView(flow: EngineStats['flows'][number]): FlowView {
  const { direction, service, values, action, upcall, cluster, requests, byStatus } = flow;
  return {
    ...{ direction, service, requests, byStatus },
    ...(values.method === undefined ? {} : { method: values.method }),
    ...(values.group === undefined ? {} : { group: values.group }),
    cluster: action === 'forward' ? String(cluster) : null,
    flags: [action, ...(upcall ? ['filter'] : [])],
    latency: summarize(flow.latency, flow.latencySumUs),
    sketch: flow.latency,
  };
}
