// The clusters and flows of one direction: for each service that somebody asked for, one cluster per group and version that
// requests named. Candidates (registered instances outbound, published apps inbound) come in whole lists; what the engine
// has is replaced whole. Bounded: names that nobody serves make room first.
import type { KeySpec } from '../native/engine-commands.js';
import type { Engine } from '../native/engine.js';
import type { EndpointCommand, EngineDirection } from '../native/engine-commands.js';
import type { ServiceState } from '../handoff/agent-state.js';
import { takesIn } from '../policy/endpoints-of.js';

/** Something that can take requests of a service. */
export interface Candidate {
  /** Names it for good: another start of the same app is another candidate. */
  readonly key: string;
  readonly group: string;
  readonly version: string;
  /** Where it stands, as the registry says; absent or empty if unknown. */
  readonly zone?: string;
  readonly endpoint: Omit<EndpointCommand, 'instanceId'>;
}

/** What a request says about the instances that may serve it. */
export interface Selector {
  readonly group: string;
  readonly version: string;
}

/** What a flow needs besides its cluster. */
export interface RoutePolicy {
  balancerOf(service: string): 'p2c' | 'round-robin';
  hasFilter(direction: EngineDirection, service: string): boolean;
}

interface Route extends Selector {
  readonly cluster: number;
}

interface Service {
  candidates: readonly Candidate[];
  /** Why its candidates are not known yet; empty: they are. */
  awaited: string;
  readonly routes: Map<string, Route>;
}

/** Numbers that the engine knows clusters and instances by; one of these serves both directions. */
export class EngineIds {
  #nextCluster = 1;
  #nextInstance = 1;
  /** For a successor: numbers from which on none of ours is in use, nor will be before it has taken over. */
  get unused(): { cluster: number; instance: number } {
    return { cluster: this.#nextCluster + idsAhead, instance: this.#nextInstance + idsAhead };
  }
  startFrom({ cluster, instance }: { cluster: number; instance: number }): void {
    this.#nextCluster = cluster;
    this.#nextInstance = instance;
  }
  cluster(): number {
    return this.#nextCluster++;
  }
  instance(): number {
    return this.#nextInstance++;
  }
}

/** How many clusters or instances may get numbers between an offer to a successor and the freeze. */
const idsAhead = 100_000;
const keySpec: KeySpec = { group: true, version: true };
/** Groups and versions of one service that have clusters of their own. */
const maxRoutesPerService = 64;

/** See the file's head. */
export class ServiceRoutes {
  readonly #services = new Map<string, Service>();
  readonly #instanceIds = new Map<string, number>();
  readonly #candidates = new Map<number, Candidate>();

  constructor(
    readonly direction: EngineDirection,
    private readonly engine: Engine,
    private readonly ids: EngineIds,
    private readonly policy: RoutePolicy,
  ) {}

  has(service: string): boolean {
    return this.#services.has(service);
  }
  get size(): number {
    return this.#services.size;
  }

  /** What a successor needs so that clusters and instances keep their numbers. */
  export(): ServiceState[] {
    return [...this.#services].map(([service, { candidates, routes }]) => ({
      service,
      routes: [...routes.values()],
      candidates: candidates.map((candidate) => ({
        ...candidate,
        zone: candidate.zone ?? '',
        instanceId: this.#instanceId(service, candidate),
      })),
    }));
  }

  /** Knows a service as another process did: its clusters and flows are sent. The service was added. */
  adopt({ service, routes, candidates }: ServiceState): void {
    const known = this.#services.get(service);
    if (known === undefined) return;
    for (const candidate of candidates) {
      this.#instanceIds.set(`${service}\n${candidate.key}`, candidate.instanceId);
      this.#candidates.set(candidate.instanceId, candidate);
    }
    if (known.candidates.length === 0) known.candidates = candidates;
    // Where the other process knew of nobody, perhaps it had not read the list yet.
    if (known.candidates.length > 0) known.awaited = '';
    for (const route of routes) {
      known.routes.set(`${route.group}\n${route.version}`, route);
      this.#sendCluster(service, known, route);
      this.#sendFlow(service, route);
    }
  }

  /**
   * A service that has no candidates, the longest known first; undefined if all have some. One whose candidates are not known yet only
   * where there is no other: requests wait for it.
   */
  anEmptyService(): string | undefined {
    let awaited: string | undefined;
    for (const [name, service] of this.#services) {
      if (service.candidates.length > 0) continue;
      if (service.awaited === '') return name;
      awaited ??= name;
    }
    return awaited;
  }

  /** @param awaited why its candidates are not known yet: its requests wait until setCandidates(); empty: it has none */
  add(service: string, awaited = ''): void {
    if (this.#services.has(service)) return;
    this.#services.set(service, { candidates: [], awaited, routes: new Map() });
    this.engine.commands.setService(this.direction, service, keySpec);
  }

  /** Says anew why the candidates of services are not known yet, to those for which that holds. */
  setAwaited(awaited: string): void {
    for (const [name, service] of this.#services) {
      if (service.awaited === '' || service.awaited === awaited) continue;
      service.awaited = awaited;
      for (const route of service.routes.values()) this.#sendCluster(name, service, route);
    }
  }

  /** Replaces the candidates of a service that was added; its clusters follow at once. */
  setCandidates(service: string, candidates: readonly Candidate[]): void {
    const known = this.#services.get(service);
    if (known === undefined) return;
    const gone = new Set(known.candidates.map(({ key }) => key));
    for (const { key } of candidates) gone.delete(key);
    known.candidates = candidates;
    known.awaited = '';
    for (const route of known.routes.values()) this.#sendCluster(service, known, route);
    for (const key of gone) this.#forget(service, key);
  }

  /**
   * Makes sure that requests with this selector have a cluster and a flow.
   * @returns the cluster, or undefined if the service was not added or has too many groups and versions
   */
  ensure(service: string, selector: Selector): number | undefined {
    const route = this.#routeOf(service, selector);
    if (route === undefined) return undefined;
    // The engine may have evicted the service's spec or the flow: saying both again is cheap and always right.
    this.engine.commands.setService(this.direction, service, keySpec);
    this.#sendFlow(service, route);
    return route.cluster;
  }

  /** Makes sure that the engine knows all who serve a service, also before anybody asks for it. */
  ensureWhole(service: string): void {
    this.#routeOf(service, { group: '', version: '' });
  }

  /** Forgets a service: its flows and clusters go, its next request asks again. */
  remove(service: string): void {
    const known = this.#services.get(service);
    if (known === undefined) return;
    this.#services.delete(service);
    this.engine.commands.removeService(this.direction, service);
    for (const { cluster } of known.routes.values()) this.engine.commands.removeCluster(cluster);
    for (const { key } of known.candidates) this.#forget(service, key);
  }

  /** Sends everything again after a change of configuration. */
  refresh(): void {
    for (const [name, service] of this.#services) {
      for (const route of service.routes.values()) {
        this.#sendCluster(name, service, route);
        this.#sendFlow(name, route);
      }
    }
  }

  /** The candidate behind an instance number of the engine's statistics. */
  candidateOf(instanceId: number): Candidate | undefined {
    return this.#candidates.get(instanceId);
  }

  /** The route of a selector, with its cluster; undefined as in ensure(). */
  #routeOf(service: string, selector: Selector): Route | undefined {
    const known = this.#services.get(service);
    if (known === undefined) return undefined;
    const key = `${selector.group}\n${selector.version}`;
    const before = known.routes.get(key);
    if (before !== undefined) return before;
    if (known.routes.size >= maxRoutesPerService && !this.#dropEmptyRoute(known)) return undefined;
    const route = { ...selector, cluster: this.ids.cluster() };
    known.routes.set(key, route);
    this.#sendCluster(service, known, route);
    return route;
  }

  #sendFlow(service: string, route: Route): void {
    const upcall = this.policy.hasFilter(this.direction, service);
    const action = { kind: 'forward', cluster: route.cluster, timeoutMs: 0, upcall } as const;
    this.engine.commands.setFlow(this.direction, service, route, action);
  }

  #sendCluster(name: string, service: Service, route: Route): void {
    const endpoints = service.candidates
      .filter((c) => takesIn(route.group, c.group) && takesIn(route.version, c.version))
      .map((c) => ({ ...c.endpoint, instanceId: this.#instanceId(name, c) }));
    this.engine.commands.setCluster({
      id: route.cluster,
      direction: this.direction,
      balancer: this.policy.balancerOf(name),
      service: name,
      group: route.group,
      awaited: service.awaited,
      endpoints,
    });
  }

  #instanceId(service: string, candidate: Candidate): number {
    const key = `${service}\n${candidate.key}`;
    const id = this.#instanceIds.get(key) ?? this.ids.instance();
    this.#instanceIds.set(key, id);
    this.#candidates.set(id, candidate);
    return id;
  }

  #forget(service: string, candidate: string): void {
    const key = `${service}\n${candidate}`;
    const id = this.#instanceIds.get(key);
    this.#instanceIds.delete(key);
    if (id !== undefined) this.#candidates.delete(id);
  }

  /** Makes room: a group or version that nobody serves loses its cluster. */
  #dropEmptyRoute(service: Service): boolean {
    for (const [key, route] of service.routes) {
      const served = service.candidates.some(
        (c) => takesIn(route.group, c.group) && takesIn(route.version, c.version),
      );
      if (served) continue;
      service.routes.delete(key);
      this.engine.commands.removeCluster(route.cluster);
      return true;
    }
    return false;
  }
}
