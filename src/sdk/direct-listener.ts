// The listening side of mesh-off mode: accepts TCP connections of other apps, judges their hello, and hands their
// requests to the dispatcher. Closing asks every peer to send no more (go-away) before anything is shut.
import { createServer } from 'node:net';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { joinHostPort } from '../base/join-host-port.js';
import { acceptSocketChannel } from './channel-socket.js';
import { answerHello } from './hello.js';
import { Link, linkBounds } from './link.js';
import type { LinkEvents } from './link.js';
import type { HostPort, Settings } from './settings.js';

/** Connections that a direct-mode server holds at once. */
const maxLinks = 4096;

export class DirectListener {
  readonly #server: NetServer;
  readonly #links = new Set<Link>();

  constructor(
    readonly settings: Settings,
    readonly events: Pick<LinkEvents, 'onRequest' | 'onCancel' | 'onClosed'>,
  ) {
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = maxLinks;
  }

  /** Listens; rejects with Node's error if the address cannot be had. */
  listen({ host, port }: HostPort): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.removeListener('error', reject);
        this.#server.on('error', (error) => this.settings.log('error', `listener: ${error.message}`, {}));
        resolve();
      });
    });
  }

  /** Where it listens, as `host:port`. */
  get address(): string {
    const { address: host, port } = this.#server.address() as AddressInfo;
    return joinHostPort({ host, port });
  }

  /** Asks all peers to send no more and waits until they agreed, at most `timeoutMs`. */
  async goAway(timeoutMs: number): Promise<void> {
    this.#server.close();
    await Promise.all([...this.#links].map((link) => link.goAway(timeoutMs)));
  }

  /** Lets what is in flight finish, and closes all links. */
  async close(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#links].map((link) => link.finish(timeoutMs, 'the server is closed')));
  }

  #accept(socket: Socket): void {
    const link = new Link(
      (events) => acceptSocketChannel(socket, events),
      {
        role: 'accept',
        ...linkBounds(this.settings),
        onHello: (hello) => answerHello(hello, this.settings.token),
      },
      {
        onRequest: this.events.onRequest,
        onCancel: this.events.onCancel,
        onGoAway: (going) => going.acknowledgeGoAway(),
        onClosed: (closed, reason) => {
          this.#links.delete(closed);
          this.events.onClosed(closed, reason);
        },
      },
    );
    this.#links.add(link);
  }
}
