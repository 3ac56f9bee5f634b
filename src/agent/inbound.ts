// What is served beside this agent: publications that apps make over their links, and those of programs that its configuration names
// (programs.ts), registered under the agent's own address, and the local clusters behind them. An app's publication ends with its link.
// Ending one gracefully goes in an order that loses no request: out of the registry, go-away to the other agents, and only then out of
// the local cluster.
import { randomUUID } from 'node:crypto';
import { MeshError } from '../base/errors.js';
import type { Engine } from '../native/engine.js';
import type { PublicationState, ServiceState } from '../handoff/agent-state.js';
import { takesIn } from '../policy/endpoints-of.js';
import { mayTake } from '../policy/fair-share.js';
import { TokenBucket } from '../policy/token-bucket.js';
import { LEGACY_PROTOCOL, MESH_PROTOCOL } from '../registry/instance.js';
import type { Instance } from '../registry/instance.js';
import type { Registry } from '../registry/registry.js';
import { Publications } from './publications.js';
import type { Offer, Publication, Server } from './publications.js';
import type { ServiceRoutes } from './service-routes.js';

/** Where other agents reach this one. */
export interface Advertised {
  readonly host: string;
  readonly port: number;
  readonly zone: string;
}

/** After how long the registry is asked again to keep what another process published. */
const keepAgainMs = 1_000;
/** How long peers may take to acknowledge a go-away. */
const goAwayTimeoutMs = 2_000;
/** How long an instance that left the registry still takes requests where a go-away would say too much. */
const leaveGraceMs = 1_000;
/** Services without a publication that are remembered, so that late requests are refused without asking. */
const maxServicesLeft = 1_024;
/** Services that others are told to stop asking for, per second, at most: their names may be invented. */
const turnAwaysPerSecond = 10;

/** Publications that the registry refused and that are logged, per second, at most: an app tries again and again. */
const refusalsLoggedPerSecond = 1;

/** See the file's head. */
export class Inbound {
  readonly #publications = new Publications();
  /** Publications of the process before this one, until their leases are kept here. */
  readonly #adopted = new Map<Publication, Instance>();
  readonly #turningAway = new Set<string>();
  #leaving = false;
  readonly #turnAways = new TokenBucket(turnAwaysPerSecond, turnAwaysPerSecond, performance.now());

  readonly #refusals = new TokenBucket(refusalsLoggedPerSecond, refusalsLoggedPerSecond, performance.now());

  constructor(
    private readonly engine: Engine,
    private readonly routes: ServiceRoutes,
    private readonly registry: Registry,
    private readonly app: string,
    private readonly advertised: Advertised,
    private readonly maxPublications: number,
    private readonly onTrouble: (message: string, error: unknown) => void,
  ) {}

  get size(): number {
    return this.#publications.size;
  }

  /** The local cluster for requests to a service, or undefined if no app of this agent ever published it. */
  clusterOf(service: string, selector: { group: string; version: string }): number | undefined {
    const cluster = this.routes.ensure(service, selector);
    if (cluster === undefined) this.#turnAway(service);
    return cluster;
  }

  /**
   * Publishes what an app or a program offers; publishing it again replaces the earlier offer.
   * @returns the instance's id in the registry
   * @throws MeshError
   */
  async publish(server: Server, offer: Offer): Promise<string> {
    if (this.#leaving) throw draining();
    const earlier = this.#publications.find(server, offer);
    if (earlier === undefined && this.#publications.size >= this.maxPublications) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `${this.maxPublications} instances are published through this agent already (limits.publications)`,
        { mayHaveRun: false },
      );
    }
    if (earlier === undefined) this.#checkShare(server);
    const id = randomUUID();
    const publication: Publication = { ...offer, server, key: id, registration: undefined, ended: false };
    this.#publications.add(publication);
    // First reachable here, then findable by others.
    this.#send(offer.service);
    try {
      publication.registration = await this.registry.register({
        id,
        service: offer.service,
        group: offer.group,
        version: offer.version,
        host: this.advertised.host,
        port: this.advertised.port,
        weight: offer.weight,
        zone: offer.zone ?? this.advertised.zone,
        protocols: [MESH_PROTOCOL, LEGACY_PROTOCOL],
        metadata: {},
        app: this.app,
        epoch: Date.now(),
      });
    } catch (error) {
      this.#forget(publication);
      if (this.#refusals.take(performance.now()))
        this.onTrouble(`could not put ${offer.service} into the registry`, error);
      throw error;
    }
    if (publication.ended || this.#leaving) await publication.registration.deregister(); // its link went meanwhile, or all of us goes
    if (this.#leaving) {
      this.#forget(publication);
      throw draining();
    }
    if (earlier !== undefined) {
      await earlier.registration?.deregister();
      this.#forget(earlier);
    }
    return id;
  }

  /** One application leaves room for the publications of others; programs are the operator's choice. */
  #checkShare(server: Server): void {
    if (!('link' in server)) return;
    const own = this.#publications.ofServer(server).size;
    if (mayTake(own, 1, this.maxPublications - this.size, this.maxPublications)) return;
    throw new MeshError(
      'RESOURCE_EXHAUSTED',
      `this application has published ${own} instances, its share of what this agent may publish (limits.publications)`,
      { mayHaveRun: false },
    );
  }

  /** What a server has published as this service and group, if it has. */
  offered(server: Server, offer: Pick<Offer, 'service' | 'group'>): Offer | undefined {
    return this.#publications.find(server, offer);
  }

  /** Publications of programs, those of a process before this one included. */
  programs(): { server: Server; offer: Offer }[] {
    return [...this.#publications].flatMap((offer) =>
      'link' in offer.server ? [] : [{ server: offer.server, offer }],
    );
  }

  /** Ends a publication so that no request is lost; resolves when the app or program gets no new ones. */
  async unpublish(server: Server, offer: Pick<Offer, 'service' | 'group'>): Promise<void> {
    const publication = this.#publications.find(server, offer);
    if (publication === undefined) return;
    // Where the registry cannot be told, its lease ends by itself; peers are told all the same.
    await publication.registration?.deregister().catch((error: unknown) => {
      this.onTrouble(`could not take ${publication.service} out of the registry`, error);
    });
    const others = [...this.#publications.ofService(offer.service)].filter((p) => p !== publication);
    if (others.length === 0) {
      await this.engine.goAway(offer.service, goAwayTimeoutMs);
    } else if (!others.some((other) => takesIn(publication.group, other.group))) {
      await new Promise((resolve) => setTimeout(resolve, leaveGraceMs));
    }
    this.#forget(publication);
    this.engine.flush();
  }

  /** A link is gone: what it published ends at once. */
  linkDown(link: number): void {
    this.#lose([...this.#publications.ofServer({ link })]);
  }

  /** A program does not answer: what it served ends at once. */
  withdraw(server: Server, offer: Pick<Offer, 'service' | 'group'>): void {
    const publication = this.#publications.find(server, offer);
    if (publication !== undefined) this.#lose([publication]);
  }

  #lose(gone: readonly Publication[]): void {
    for (const publication of gone) {
      this.#forget(publication);
      publication.registration?.deregister().catch((error: unknown) => {
        this.onTrouble(`could not take ${publication.service} out of the registry`, error);
      });
    }
    for (const service of new Set(gone.map(({ service }) => service))) this.#turnAway(service);
  }

  /** What a successor needs to go on with the publications; between control requests, see Control.pause(). */
  export(): { services: ServiceState[]; publications: PublicationState[] } {
    const publications = [...this.#publications].map(
      ({ server, key, service, group, version, weight, registration }) => ({
        ...{ ...server, key, service, group, version, weight },
        instance: registration?.instance ?? null,
      }),
    );
    return { services: this.routes.export(), publications };
  }

  /** Goes on with the publications of another process, which keeps them in the registry until confirm(). */
  adopt(services: readonly ServiceState[], publications: readonly PublicationState[]): void {
    for (const { key, service, group, version, weight, instance, ...rest } of publications) {
      const zone = instance === null ? {} : { zone: instance.zone };
      const offer = { service, group, version, weight, ...zone };
      const server = serverOf(rest);
      if (server === undefined) continue;
      const publication: Publication = { ...offer, server, key, registration: undefined, ended: false };
      this.#publications.add(publication);
      if (instance !== null) this.#adopted.set(publication, instance);
    }
    for (const state of services) {
      this.routes.add(state.service);
      this.routes.adopt(state);
    }
    for (const service of new Set(publications.map(({ service }) => service))) this.#send(service);
  }

  /**
   * The other process is gone and `links` are those that came: keeps the leases of what it published from now on, and
   * takes out what belonged to a link that ended on the way. Resolves when the registry has been told, or cannot be now.
   */
  async confirm(links: ReadonlySet<number>): Promise<void> {
    for (const publication of [...this.#publications]) {
      const { server } = publication;
      if (this.#adopted.has(publication) && 'link' in server && !links.has(server.link))
        this.#forget(publication);
    }
    const adopted = [...this.#adopted];
    this.#adopted.clear();
    await Promise.all(adopted.map(([publication, instance]) => this.#keep(publication, instance)));
  }

  async #keep(publication: Publication, instance: Instance): Promise<void> {
    try {
      publication.registration = await this.registry.register(instance);
      if (publication.ended || this.#leaving) await publication.registration.deregister();
    } catch (error) {
      if (publication.ended || this.#leaving) return;
      this.onTrouble(`could not renew the lease of ${publication.service}; it is tried again`, error);
      setTimeout(() => void this.#keep(publication, instance), keepAgainMs).unref();
    }
  }

  /** What stands in the registry for this agent's apps and programs now. */
  instances(): Instance[] {
    return [...this.#publications].flatMap(({ registration }) => registration?.instance ?? []);
  }

  /** Takes everything out of the registry, and lets nothing in any more; requests that still come are served. */
  async deregisterAll(): Promise<void> {
    this.#leaving = true;
    const registrations = [...this.#publications].flatMap(({ registration }) => registration ?? []);
    await Promise.all(registrations.map((registration) => registration.deregister()));
  }

  /**
   * Asks the other agents to stop sending requests for a service that no app of this agent serves. They hold on to an
   * instance that died, or that stood here before this agent was restarted, until the registry tells them; and a
   * refusal is so quick that a balancer would take this agent for the least busy one. When an app dies, the engine has
   * told them in the same moment, of a hundred services per second at most; here all the other cases are met.
   */
  #turnAway(service: string): void {
    if (this.#publications.ofService(service).size > 0) return;
    if (this.#turningAway.has(service) || !this.#turnAways.take(performance.now())) return;
    this.#turningAway.add(service);
    this.engine
      .goAway(service, goAwayTimeoutMs)
      // The engine is closed: so are the links to those who would be told.
      .catch(() => undefined)
      .finally(() => this.#turningAway.delete(service));
  }

  #forget(publication: Publication): void {
    publication.ended = true;
    this.#publications.delete(publication);
    this.#send(publication.service);
  }

  #send(service: string): void {
    if (!this.routes.has(service) && this.routes.size >= this.maxPublications + maxServicesLeft) {
      const unused = this.routes.anEmptyService();
      if (unused !== undefined) this.routes.remove(unused);
    }
    this.routes.add(service);
    const candidates = [...this.#publications.ofService(service)].map(
      ({ key, group, version, server, weight }) => ({
        ...{ key, group, version },
        endpoint: { ...server, weight },
      }),
    );
    this.routes.setCandidates(service, candidates);
    // So the engine knows whether anybody is left when one of them is suddenly gone.
    if (candidates.length > 0) this.routes.ensureWhole(service);
  }
}

function draining(): MeshError {
  return new MeshError('UNAVAILABLE', 'this agent is draining and publishes nothing any more', {
    mayHaveRun: false,
  });
}

function serverOf({
  link,
  address,
  protocol,
}: Pick<PublicationState, 'link' | 'address' | 'protocol'>): Server | undefined {
  if (link !== undefined) return { link };
  return address === undefined || protocol === undefined ? undefined : { address, protocol };
}
