// Calls of this agent's apps to others: which services are watched in the registry, and their way into the engine's clusters.
// A service is watched from its first call on. Names that no instance serves are forgotten after a while, since callers may have invented them,
// and make room at once when there are too many. Until the first list has come its requests wait in the engine, with the reason that they are
// told should their deadline pass.
import { joinHostPort } from '../base/join-host-port.js';
import type { ServiceState } from '../handoff/agent-state.js';
import { endpointsOf } from '../policy/endpoints-of.js';
import { LEGACY_PROTOCOL, MESH_PROTOCOL } from '../registry/instance.js';
import type { Instance } from '../registry/instance.js';
import type { Registry } from '../registry/registry.js';
import type { Candidate, Selector, ServiceRoutes } from './service-routes.js';

/** A service without instances is forgotten after so long; its next call asks the registry anew. */
const forgetEmptyMs = 30_000;
/** How often those are looked for. */
const lookForEmptyMs = 5_000;

/** See the file's head. */
export class Outbound {
  readonly #watches = new Map<string, () => void>();
  /** Since when the registry knows of nobody who serves a watched service, in milliseconds of the monotonic clock. */
  readonly #emptySince = new Map<string, number>();
  readonly #forgetting = setInterval(() => this.#forgetEmpty(), lookForEmptyMs).unref();
  #kept: readonly Instance[] = [];

  constructor(
    private readonly routes: ServiceRoutes,
    private readonly registry: Registry,
    private readonly maxServices: number,
  ) {}

  /**
   * The cluster for requests to a service, watched from now on.
   * @returns undefined if too many services are in use, or too many groups of this one
   */
  clusterOf(service: string, selector: Selector): number | undefined {
    if (!this.routes.has(service) && !this.#watch(service)) return undefined;
    return this.routes.ensure(service, selector);
  }

  /** What is wrong with the registry has changed: those who wait for a list are told that instead. */
  registryChanged(): void {
    this.routes.setAwaited(this.#whyUnread());
  }

  /**
   * Goes on knowing these instances whatever the registry says from now on: those of this agent, which leaves the registry
   * before the last of its applications has ended. One whose application ends meanwhile refuses by itself.
   */
  keep(instances: readonly Instance[]): void {
    this.#kept = instances;
  }

  /** Goes on with the services of another process; a registry that cannot be read leaves its candidates in force. */
  adopt(services: readonly ServiceState[]): void {
    for (const state of services) {
      if (this.routes.has(state.service) || this.routes.size >= this.maxServices) continue;
      this.routes.add(state.service, this.#whyUnread());
      this.routes.adopt(state);
      this.#listen(state.service);
    }
  }

  close(): void {
    clearInterval(this.#forgetting);
    for (const end of this.#watches.values()) end();
    this.#watches.clear();
  }

  #watch(service: string): boolean {
    if (this.routes.size >= this.maxServices) {
      const unused = this.routes.anEmptyService();
      if (unused === undefined) return false;
      this.#forget(unused);
    }
    this.routes.add(service, this.#whyUnread());
    this.#listen(service);
    return true;
  }

  #listen(service: string): void {
    const end = this.registry.watch(service, undefined, (instances) => {
      const kept = this.#kept.filter(
        (one) => one.service === service && !instances.some(({ id }) => id === one.id),
      );
      const all = [...instances, ...kept];
      if (all.length > 0) this.#emptySince.delete(service);
      else if (!this.#emptySince.has(service)) this.#emptySince.set(service, performance.now());
      this.routes.setCandidates(service, candidatesOf(all));
    });
    this.#watches.set(service, end);
  }

  #whyUnread(): string {
    const { place, problem } = this.registry;
    return `${place} has not answered yet${problem === null ? '' : `: ${problem}`}`;
  }

  #forget(service: string): void {
    this.#watches.get(service)?.();
    this.#watches.delete(service);
    this.#emptySince.delete(service);
    this.routes.remove(service);
  }

  #forgetEmpty(): void {
    const beforeMs = performance.now() - forgetEmptyMs;
    for (const [service, sinceMs] of this.#emptySince) if (sinceMs <= beforeMs) this.#forget(service);
  }
}

function candidatesOf(instances: readonly Instance[]): Candidate[] {
  const byId = new Map(instances.map((instance) => [instance.id, instance]));
  return endpointsOf(instances, { protocols: [MESH_PROTOCOL, LEGACY_PROTOCOL] }).map(
    ({ id, host, port, weight, protocol }) => {
      const { group, version, epoch, zone } = byId.get(id) as Instance;
      const address = joinHostPort({ host, port });
      const spoken = protocol === MESH_PROTOCOL ? 'mesh' : 'legacy';
      return { key: `${id}@${epoch}`, group, version, zone, endpoint: { address, weight, protocol: spoken } };
    },
  );
}
