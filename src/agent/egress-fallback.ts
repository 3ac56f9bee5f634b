// Egress fallback: applications that serve nothing may use another agent of the same app while their own is down. This agent tells the
// others in the registry where it takes applications in, and keeps a list of the others on disk, beside its socket, where the SDK finds it
// when nobody answers there (src/sdk/fallback-list.ts). No open relay: the listener is one for applications, which asks for loopback.token.
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fallbackListOf } from '../base/default-socket.js';
import { joinHostPort } from '../base/join-host-port.js';
import type { AgentConfig } from '../config/resolve-config.js';
import type { Instance } from '../registry/instance.js';
import type { Registration, Registry } from '../registry/registry.js';

/** The name in the registry under which agents find those of the same app, which is the group. */
const fallbackService = 'ringside.fallback';
/** No instance of a service: nobody who looks for a protocol to call finds it. */
const fallbackProtocol = 'ringside-fallback';
/** Agents in the list, at most. */
const maxListed = 16;
const registerAgainMs = 1_000;

/** See the file's head. */
export class EgressFallback {
  readonly #id = randomUUID();
  #registration: Registration | undefined;
  #endWatch: () => void = () => undefined;
  #again: NodeJS.Timeout | undefined;
  #listed: string | undefined;
  #closed = false;

  constructor(
    private readonly registry: Registry,
    private readonly config: Pick<AgentConfig, 'app' | 'socket' | 'loopback' | 'advertise'>,
    private readonly onTrouble: (message: string, error: unknown) => void,
  ) {}

  /** Removes a list of an earlier time, when this was allowed. */
  static forget({ socket }: Pick<AgentConfig, 'socket'>): void {
    rmSync(fallbackListOf(socket.path), { force: true });
  }

  /** Begins; `port` is where this agent takes in applications of others. */
  start(port: number): void {
    this.#endWatch = this.registry.watch(fallbackService, this.config.app, (instances) =>
      this.#list(instances, port),
    );
    void this.#register(port);
  }

  /** Takes this agent out of the lists of others; its own list stays, for the applications that it leaves behind. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#again);
    this.#endWatch();
    await this.#registration?.deregister().catch((error: unknown) => {
      this.onTrouble('could not take the egress fallback out of the registry', error);
    });
  }

  async #register(port: number): Promise<void> {
    const { app, advertise } = this.config;
    try {
      const registration = await this.registry.register({
        ...{ id: this.#id, service: fallbackService, group: app, version: '', host: advertise.host, port },
        ...{ weight: 100, zone: advertise.zone, protocols: [fallbackProtocol], metadata: {} },
        ...{ app, epoch: Date.now() },
      });
      this.#registration = registration;
      if (this.#closed) await registration.deregister();
    } catch (error) {
      if (this.#closed) return;
      this.onTrouble('could not offer the egress fallback in the registry; it is tried again', error);
      this.#again = setTimeout(() => void this.#register(port), registerAgainMs).unref();
    }
  }

  #list(instances: readonly Instance[], ownPort: number): void {
    const { app, socket, loopback, advertise } = this.config;
    const agents = instances
      // This address may stand there for a process before this one as well.
      .filter(({ host, port, group }) => group === app && (host !== advertise.host || port !== ownPort))
      .slice(0, maxListed)
      .map(joinHostPort);
    const text = `${JSON.stringify({ token: loopback.token, agents })}\n`;
    if (text === this.#listed) return;
    const path = fallbackListOf(socket.path);
    try {
      // The socket's user and group may read it, and nobody else: it holds the token.
      const beside = `${path}.${process.pid}`;
      writeFileSync(beside, text, { mode: 0o600 });
      if (socket.group !== null) chownSync(beside, -1, socket.group);
      chmodSync(beside, Number.parseInt(socket.mode, 8) & 0o640);
      renameSync(beside, path);
      this.#listed = text;
    } catch (error) {
      this.onTrouble(`could not write the list of other agents, ${path}`, error);
    }
  }
}
