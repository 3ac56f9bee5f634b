// Publishing through the agent's own service: what a server says on each new link, and what it says before it
// leaves one. Bodies are JSON (docs/wire-format.md, "The agent's own service").
import { CallHeaders } from './call-headers.js';
import type { Link } from './link.js';
import type { ServeOptions } from './types.js';

const agentService = 'ringside.agent';

/** One service that this process offers through its agent. */
export class Publication {
  readonly #headers: CallHeaders;
  readonly #publish: string;
  readonly #unpublish: string;

  constructor(app: string, options: Pick<ServeOptions, 'service' | 'group' | 'version' | 'weight'>) {
    const { service, group, version, weight } = options;
    this.#headers = new CallHeaders(app);
    this.#publish = JSON.stringify({ service, group, version, weight });
    this.#unpublish = JSON.stringify({ service, group });
  }

  /** Resolves once the instance is registered; rejects with the agent's MeshError. */
  async publish(link: Link, timeoutMs: number): Promise<void> {
    await this.#ask(link, 'publish', this.#publish, timeoutMs);
  }

  /** Resolves when no new request comes any more; rejects if the agent does not say so in time. */
  async unpublish(link: Link, timeoutMs: number): Promise<void> {
    await this.#ask(link, 'unpublish', this.#unpublish, timeoutMs);
  }

  async #ask(link: Link, method: string, body: string, timeoutMs: number): Promise<void> {
    const header = this.#headers.staticPart(agentService, method, { contentType: 'application/json' });
    const nowMs = performance.now();
    await link.call(header, undefined, body, nowMs, nowMs + timeoutMs, undefined);
  }
}
