// Links straight to other apps, for mesh-off mode: round robin over the addresses of a service, one TCP link per
// address, opened when it is first needed. An address that failed rests for a jittered while; a peer that asks for
// no more requests is left at once, and its link closes when its calls are done.
import type { MeshError } from '../base/errors.js';
import { backoffMs } from '../policy/backoff.js';
import { openTcpChannel } from './channel-socket.js';
import { encodeHello } from './hello.js';
import { Link, linkBounds } from './link.js';
import type { LinkEvents } from './link.js';
import type { LinkSource, LinkSourceEvents } from './link-source.js';
import { clientClosed, refused } from './refusal.js';
import type { HostPort, Settings } from './settings.js';

interface Endpoint extends HostPort {
  link: Link | undefined;
  failures: number;
  restUntilMs: number;
  lastReason: string;
}

/** What direct links need from their owner: the peer may call back on them. */
export type DirectEvents = LinkSourceEvents & Pick<LinkEvents, 'onRequest' | 'onCancel' | 'onClosed'>;

export class DirectEndpoints implements LinkSource {
  readonly transport = 'tcp';
  readonly #byAddress = new Map<string, Endpoint>();
  readonly #byService = new Map<string, { endpoints: Endpoint[]; next: number }>();
  readonly #links = new Set<Link>();
  readonly #hello: Buffer;
  #closed = false;

  constructor(
    readonly settings: Settings,
    addresses: ReadonlyMap<string, readonly HostPort[]>,
    readonly events: DirectEvents,
  ) {
    this.#hello = encodeHello(settings.app, 0, settings.token);
    for (const [service, list] of addresses) {
      this.#byService.set(service, { endpoints: list.map((address) => this.#endpoint(address)), next: 0 });
    }
  }

  pick(service: string): Link | MeshError {
    if (this.#closed) return clientClosed();
    const entry = this.#byService.get(service);
    if (entry === undefined || entry.endpoints.length === 0)
      return refused(
        'UNAVAILABLE',
        `no endpoints are given for service ${service}: name them in the option endpoints or RINGSIDE_ENDPOINTS`,
        false,
      );
    const { endpoints } = entry;
    const now = performance.now();
    let probe: Link | undefined;
    for (let tried = 0; tried < endpoints.length; tried += 1) {
      const endpoint = endpoints[entry.next]!;
      entry.next = (entry.next + 1) % endpoints.length;
      const link = this.#linkOf(endpoint, now);
      // One that failed before is opened again, but calls go elsewhere until it has answered, if there is elsewhere.
      if (link !== undefined && (endpoint.failures === 0 || link.state === 'open')) return link;
      probe ??= link;
    }
    if (probe !== undefined) return probe;
    return refused(
      'UNAVAILABLE',
      `no endpoint of service ${service} can be reached: ${endpoints[entry.next]!.lastReason}`,
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(
      [...this.#links].map((link) => link.finish(this.settings.drainTimeoutMs, 'closed by this application')),
    );
  }

  #endpoint({ host, port }: HostPort): Endpoint {
    const key = `${host} ${port}`;
    let endpoint = this.#byAddress.get(key);
    if (endpoint === undefined) {
      endpoint = { host, port, link: undefined, failures: 0, restUntilMs: 0, lastReason: '' };
      this.#byAddress.set(key, endpoint);
    }
    return endpoint;
  }

  #linkOf(endpoint: Endpoint, nowMs: number): Link | undefined {
    if (endpoint.link?.usable) return endpoint.link;
    return endpoint.restUntilMs <= nowMs ? this.#open(endpoint) : undefined;
  }

  #open(endpoint: Endpoint): Link {
    const link = new Link(
      (events) => openTcpChannel(endpoint, this.#hello, events),
      { role: 'connect', ...linkBounds(this.settings) },
      {
        onRequest: this.events.onRequest,
        onCancel: this.events.onCancel,
        onGoAway: (going) => {
          going.acknowledgeGoAway();
          this.#rest(endpoint, going, 'it is going away');
          void going.finish(this.settings.drainTimeoutMs, 'the other side went away');
        },
        onClosed: (closed, reason) => {
          this.#links.delete(closed);
          this.#rest(endpoint, closed, reason);
          this.events.onClosed(closed, reason);
        },
      },
    );
    endpoint.link = link;
    this.#links.add(link);
    link.opened.then(
      () => (endpoint.failures = 0),
      () => undefined,
    );
    return link;
  }

  #rest(endpoint: Endpoint, link: Link, reason: string): void {
    if (endpoint.link !== link) return;
    endpoint.link = undefined;
    endpoint.failures += 1;
    endpoint.lastReason = `${endpoint.host}:${endpoint.port}: ${reason}`;
    endpoint.restUntilMs =
      performance.now() + backoffMs(endpoint.failures, this.settings.backoff, Math.random);
  }
}
