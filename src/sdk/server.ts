// The serving half of the SDK: puts handlers behind a service name, through the agent or (direct mode) a listener of
// its own. What must stay true: closing first makes sure that no new request comes, then lets running handlers
// finish, then closes links; each step is bounded by the drain timeout.
import { EventEmitter } from 'node:events';
import { errorText } from '../base/errors.js';
import type { Client, ClientEvents } from './client.js';
import type { DirectListener } from './direct-listener.js';
import type { Dispatcher } from './dispatch.js';
import type { Link } from './link.js';
import type { Publication } from './publication.js';
import type { Settings } from './settings.js';
import type { TransportName } from './types.js';

/** What a server is made of; exactly one of `publication` and `listener` is there. */
export interface ServerParts {
  settings: Settings;
  client: Client;
  dispatcher: Dispatcher;
  publication?: Publication;
  listener?: DirectListener;
  /** The link on which the service is published now. */
  currentLink?: () => Link | undefined;
}

/** Serves a service. Made by {@link serve}. */
export class Server extends EventEmitter<ClientEvents> {
  readonly #parts: ServerParts;
  #closed: Promise<void> | undefined;

  /** @internal Use `serve`. */
  constructor(parts: ServerParts) {
    super();
    this.#parts = parts;
    parts.client.on('transport', (transport) => this.emit('transport', transport));
  }

  /** Calls other services over this server's links. */
  get client(): Client {
    return this.#parts.client;
  }

  /** How requests come in now. */
  get transport(): TransportName {
    return this.#parts.client.transport;
  }

  /** Where a direct-mode server listens, as `host:port`; undefined with an agent. */
  get address(): string | undefined {
    return this.#parts.listener?.address;
  }

  /** Requests that run now, or whose bodies are still arriving. */
  get runningRequests(): number {
    return this.#parts.dispatcher.running;
  }

  /**
   * Graceful end: withdraws the service until nobody sends any more, lets handlers in flight finish, closes. Each of
   * the two waits takes at most `drainTimeoutMs`.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { settings, dispatcher, client, listener } = this.#parts;
    await this.#withdraw();
    const left = await dispatcher.idle(settings.drainTimeoutMs);
    if (left > 0) settings.log('warn', `closing while ${left} requests still run`, { running: left });
    await Promise.all([listener?.close(settings.drainTimeoutMs), client.close()]);
    this.emit('close');
  }

  async #withdraw(): Promise<void> {
    const { settings, publication, listener, currentLink } = this.#parts;
    await listener?.goAway(settings.drainTimeoutMs);
    const link = currentLink?.();
    if (publication === undefined || link === undefined) return;
    try {
      await publication.unpublish(link, settings.drainTimeoutMs);
    } catch (error) {
      settings.log('warn', `the agent did not confirm the end of the publication: ${errorText(error)}`, {});
    }
  }
}
