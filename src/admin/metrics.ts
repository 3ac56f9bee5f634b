/**
 * The agent's state as Prometheus metrics. Everything is computed when it is asked for, from one look at the agent;
 * nothing runs in between, so an agent that nobody scrapes pays nothing (which is why prom-client's own process
 * metrics, with their timers, are not used). Served by the admin server under /metrics.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Metric } from 'prom-client';
import { statusName } from '../base/status.js';
import { TurnQueue } from '../base/turn-queue.js';
import type {
  AgentView,
  ClusterView,
  HandoffView,
  IdentityView,
  LimitView,
  LinkView,
  ProgramView,
  ReadyView,
  RegistryView,
} from '../observe/agent-view.js';
import { engineCounters } from '../observe/engine-counters.js';
import { BOUNDS_US, FlowTotals } from './flow-totals.js';

/** Engine counters beyond this many are left out. */
const MAX_COUNTERS = 256;

/** One look at the agent. */
interface Look {
  ready: ReadyView;
  links: LinkView[];
  clusters: ClusterView[];
  limits: LimitView[];
  counters: Record<string, number>;
  programs: ProgramView[];
  registry?: RegistryView;
  handoff?: HandoffView;
  identity?: IdentityView;
}

/** See the file's head. */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #totals = new FlowTotals();
  readonly #engineCounters = new Set<string>();
  #look: Look = {
    ready: { ok: false, reasons: [], warnings: [] },
    links: [],
    clusters: [],
    limits: [],
    programs: [],
    counters: {},
  };
  /** Looks asked for, and the latest of them that was shown. */
  #asked = 0;
  #shown = 0;
  /** One text after another, since all write into the same metrics. */
  readonly #queue = new TurnQueue();

  constructor(private readonly view: AgentView) {
    this.#defineRequests();
    this.#defineState();
    this.#defineRegistry();
    this.#defineHandoff();
    this.#defineProcess();
  }

  /** Content type of what `scrape` returns. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The metrics as text. */
  async scrape(): Promise<string> {
    const turn = ++this.#asked;
    const { view } = this;
    const [identity, ready, links, clusters, flows, limits, counters, registry, programs, handoff] =
      await Promise.all([
        view.identity(),
        view.ready(),
        view.links(),
        view.clusters(),
        view.flows(),
        view.limits(),
        view.counters(),
        view.registry(),
        view.programs(),
        view.handoff(),
      ]);
    return this.#queue.run(() => {
      // An older look after a newer one would read as if the flows had begun again.
      if (turn > this.#shown) {
        this.#shown = turn;
        this.#look = { identity, ready, links, clusters, limits, counters, registry, programs, handoff };
        this.#totals.add(flows, servedOf(clusters));
        this.#defineEngine();
      }
      return this.#registry.metrics();
    });
  }

  #defineRequests(): void {
    const totals = this.#totals;
    this.#counter(
      'ringside_requests_total',
      'Requests answered, by status.',
      ['direction', 'service', 'status'],
      (set) => {
        for (const { direction, service, byStatus } of totals.all()) {
          byStatus.forEach((count, code) => {
            if (count > 0) set({ direction, service, status: statusName(code) }, count);
          });
        }
      },
    );
    this.#registry.registerMetric(durationHistogram(totals) as unknown as Metric);
  }

  #defineState(): void {
    this.#gauge('ringside_ready', 'Whether this agent can serve: 1 or 0.', [], (add) =>
      add({}, this.#look.ready.ok ? 1 : 0),
    );
    this.#gauge(
      'ringside_warnings',
      'What is wrong although this agent serves, such as a registry in trouble: lines of `warnings` in /ready.',
      [],
      (add) => add({}, this.#look.ready.warnings.length),
    );
    this.#gauge('ringside_links', 'Open links.', ['kind', 'role'], (add) => {
      for (const { kind, role } of this.#look.links) add({ kind, role }, 1);
    });
    this.#gauge('ringside_pending_requests', 'Requests that await a reply.', ['role'], (add) => {
      for (const { role, pending } of this.#look.links) add({ role }, pending);
    });
    this.#gauge(
      'ringside_outbound_bytes',
      'Bytes queued for links that are slow to read.',
      ['role'],
      (add) => {
        for (const { role, outboundBytes } of this.#look.links) add({ role }, outboundBytes);
      },
    );
    this.#gauge(
      'ringside_endpoints',
      'Endpoints of clusters, by state.',
      ['direction', 'service', 'group', 'state'],
      (add) => {
        for (const { direction, service, group, endpoints } of this.#look.clusters) {
          for (const { state } of endpoints) add({ direction, service, group, state }, 1);
        }
      },
    );
    this.#gauge('ringside_limit_used', 'How much of a limit is used.', ['limit'], (add) => {
      for (const { name, used } of this.#look.limits) add({ limit: name }, used);
    });
    this.#gauge('ringside_limit_max', 'How much a limit allows.', ['limit'], (add) => {
      for (const { name, max } of this.#look.limits) add({ limit: name }, max);
    });
  }

  #defineRegistry(): void {
    const gauge = (name: string, help: string, value: (registry: RegistryView) => number): void => {
      this.#gauge(`ringside_registry_${name}`, help, [], (add) => {
        const { registry } = this.#look;
        if (registry) add({}, value(registry));
      });
    };
    gauge('connected', 'Whether the registry can be asked: 1 or 0.', ({ connected }) => (connected ? 1 : 0));
    gauge('services', 'Services watched in the registry.', ({ services }) => services);
    gauge('instances', 'Instances of watched services that serve.', ({ instances }) => instances);
    gauge('registered', 'Instances that this agent keeps registered.', ({ registered }) => registered);
    gauge('offline', 'Instances that the watcher has taken out.', ({ offline }) => offline);
    this.#gauge(
      'ringside_programs',
      'Programs under `publish`, by state; those that are published are in the registry.',
      ['service', 'group', 'state'],
      (add) => {
        for (const { service, group, state } of this.#look.programs) add({ service, group, state }, 1);
      },
    );
    gauge('from_disk', 'Services whose list comes from disk.', ({ fromDisk }) => fromDisk);
    gauge('protected', 'Instances that the registry lost and that serve on for a while.', (registry) =>
      registry.protected.reduce((sum, { instances }) => sum + instances, 0),
    );
  }

  /** Absent gauges: this process was started afresh. */
  #defineHandoff(): void {
    this.#counter(
      'ringside_handoffs_total',
      'Takeovers by a new process, over all the processes that were this agent.',
      ['outcome'],
      (set) => {
        const { handoff } = this.#look;
        if (!handoff) return;
        set({ outcome: 'done' }, handoff.done);
        set({ outcome: 'failed' }, handoff.failed);
      },
    );
    const gauge = (
      name: string,
      help: string,
      of: (last: NonNullable<HandoffView['last']>) => number,
    ): void => {
      this.#gauge(`ringside_handoff_${name}`, help, [], (add) => {
        const last = this.#look.handoff?.last;
        if (last) add({}, of(last));
      });
    };
    gauge(
      'freeze_seconds',
      'How long nothing was read when this process took over.',
      (l) => l.freezeUs / 1e6,
    );
    gauge('links', 'Links that moved when this process took over.', (l) => l.links);
    gauge(
      'pending_requests',
      'Requests that moved while they awaited a reply or a decision.',
      (l) => l.pending + l.parked,
    );
  }

  /** The engine may have more counters than this file knows of. */
  #defineEngine(): void {
    for (const name of Object.keys(this.#look.counters)) {
      if (this.#engineCounters.has(name) || this.#engineCounters.size >= MAX_COUNTERS) continue;
      this.#engineCounters.add(name);
      const metric = `ringside_engine_${name
        .toLowerCase()
        .replace(/[^a-z0-9_]/g, '_')
        .replace(/_total$/, '')}_total`;
      if (this.#registry.getSingleMetric(metric)) continue;
      const help = engineCounters[name] ?? `Engine counter: ${name.replaceAll('_', ' ')}.`;
      this.#counter(metric, help, [], (set) => {
        const count = this.#look.counters[name];
        if (count !== undefined) set({}, count);
      });
    }
  }

  #defineProcess(): void {
    this.#gauge(
      'ringside_build_info',
      'Always 1; the labels say which agent this is. `commit` is empty where the build did not know it.',
      ['version', 'commit', 'node', 'pid', 'app', 'config_hash'],
      (add) => {
        const { identity } = this.#look;
        if (!identity) return;
        const { version, commit, node, pid, app, configHash } = identity;
        add({ version, commit: commit ?? '', node, pid: String(pid), app, config_hash: configHash }, 1);
      },
    );
    this.#gauge(
      'ringside_uptime_seconds',
      'How long this process has run; takeovers replace it.',
      [],
      (add) => {
        const { identity } = this.#look;
        if (identity) add({}, identity.uptimeMs / 1000);
      },
    );
    this.#counter(
      'process_cpu_seconds_total',
      'User and system CPU time of the agent, in seconds.',
      [],
      (set) => {
        const { user, system } = process.cpuUsage();
        set({}, (user + system) / 1e6);
      },
    );
    this.#gauge('process_resident_memory_bytes', 'Resident memory of the agent.', [], (add) =>
      add({}, process.memoryUsage.rss()),
    );
    this.#gauge(
      'process_start_time_seconds',
      'When the agent was started, in seconds since 1970.',
      [],
      (add) => add({}, performance.timeOrigin / 1000),
    );
    this.#gauge('nodejs_heap_used_bytes', 'JavaScript heap in use.', [], (add) =>
      add({}, process.memoryUsage().heapUsed),
    );
    this.#gauge(
      'nodejs_eventloop_utilization_ratio',
      'Share of its life that the main thread was busy.',
      [],
      (add) => add({}, performance.eventLoopUtilization().utilization),
    );
  }

  #gauge(name: string, help: string, labelNames: string[], fill: (add: Put) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        fill((labels, value) => this.inc(labels, value));
      },
    });
  }

  #counter(name: string, help: string, labelNames: string[], fill: (set: Put) => void): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        fill((labels, value) => this.inc(labels, value));
      },
    });
  }
}

/** The services that have endpoints, as FlowTotals wants them. */
function servedOf(clusters: readonly ClusterView[]): Set<string> {
  const served = clusters.filter(({ endpoints }) => endpoints.length > 0);
  return new Set(served.map(({ direction, service }) => `${direction} ${service}`));
}

type Put = (labels: Record<string, string>, value: number) => void;

/** prom-client's own histogram only takes single observations; ours come counted. */
function durationHistogram(totals: FlowTotals) {
  const name = 'ringside_request_duration_seconds';
  const help = 'Time from a request to its answer as this agent saw it, 2% off at most.';
  return {
    name,
    help,
    type: 'histogram',
    get() {
      const values = totals.all().flatMap(({ direction, service, atMost, latencySumUs, latencyCount }) => {
        const labels = { direction, service };
        const buckets = BOUNDS_US.map((boundUs, i) => ({ le: boundUs / 1e6, value: atMost[i] ?? 0 }));
        return [
          ...buckets.map(({ le, value }) => ({
            metricName: `${name}_bucket`,
            labels: { ...labels, le },
            value,
          })),
          { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: latencyCount },
          { metricName: `${name}_sum`, labels, value: latencySumUs / 1e6 },
          { metricName: `${name}_count`, labels, value: latencyCount },
        ];
      });
      return Promise.resolve({ name, help, type: 'histogram', values, aggregator: 'sum' });
    },
    reset() {
      // Totals live as long as the agent.
    },
  };
}
