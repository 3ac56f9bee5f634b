// The publications that are in force, by service and by who serves them, so that what one of them costs does not grow with the number of all. Kept by inbound.ts.
import type { Registration } from '../registry/registry.js';

/** What an app says about a service it offers. */
export interface Offer {
  readonly service: string;
  readonly group: string;
  readonly version: string;
  /** 0 to 1,000,000; 100 is usual. */
  readonly weight: number;
  /** Where it stands; absent: where the agent does. */
  readonly zone?: string;
}

/** Who serves a publication: the app behind a link, or a program that is spoken to at an address. */
export type Server =
  { readonly link: number } | { readonly address: string; readonly protocol: 'mesh' | 'legacy' };

/** One of them, from the moment in which it can be reached through this agent. */
export interface Publication extends Offer {
  readonly server: Server;
  readonly key: string;
  registration: Registration | undefined;
  ended: boolean;
}

const none: ReadonlySet<Publication> = new Set();

/** See the file's head. */
export class Publications {
  readonly #all = new Set<Publication>();
  readonly #byService = new Map<string, Set<Publication>>();
  readonly #byServer = new Map<string, Set<Publication>>();
  readonly #byOffer = new Map<string, Set<Publication>>();

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<Publication> {
    return this.#all.values();
  }

  add(publication: Publication): void {
    this.#all.add(publication);
    for (const [index, key] of this.#places(publication)) {
      const found = index.get(key);
      if (found === undefined) index.set(key, new Set([publication]));
      else found.add(publication);
    }
  }

  delete(publication: Publication): void {
    if (!this.#all.delete(publication)) return;
    for (const [index, key] of this.#places(publication)) {
      const found = index.get(key);
      found?.delete(publication);
      if (found?.size === 0) index.delete(key);
    }
  }

  /** What a server has published as this service and group: the earliest, while a later one is about to replace it. */
  find(server: Server, offer: Pick<Offer, 'service' | 'group'>): Publication | undefined {
    const [first] = this.#byOffer.get(offerKey(server, offer)) ?? none;
    return first;
  }

  ofService(service: string): ReadonlySet<Publication> {
    return this.#byService.get(service) ?? none;
  }

  ofServer(server: Server): ReadonlySet<Publication> {
    return this.#byServer.get(serverKey(server)) ?? none;
  }

  #places(publication: Publication): [Map<string, Set<Publication>>, string][] {
    const { server, service } = publication;
    return [
      [this.#byService, service],
      [this.#byServer, serverKey(server)],
      [this.#byOffer, offerKey(server, publication)],
    ];
  }
}

function serverKey(server: Server): string {
  return 'link' in server ? `link ${server.link}` : `${server.protocol} ${server.address}`;
}

function offerKey(server: Server, { service, group }: Pick<Offer, 'service' | 'group'>): string {
  return JSON.stringify([serverKey(server), service, group]);
}
