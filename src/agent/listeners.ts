// Where an agent listens: for other agents, for its applications, for a successor. agent.ts opens them in that order, or goes on with
// those of the process before it; what stands for them in the file system goes away with the agent.
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { AgentConfig } from '../config/resolve-config.js';
import { listenStateOf, portsOf } from '../handoff/listening.js';
import type { AgentPorts, ListenState } from '../handoff/listening.js';
import type { Engine } from '../native/engine.js';
import type { TakenOver } from '../native/engine-events.js';
import { SocketFiles } from './socket-files.js';

/** See the file's head. */
export class Listeners {
  #ports: AgentPorts = { inbound: 0 };
  #forApps: number[] = [];
  readonly #files = new SocketFiles();

  constructor(
    private readonly engine: Pick<Engine, 'listen' | 'commands' | 'flush'>,
    private readonly config: Pick<
      AgentConfig,
      'socket' | 'inbound' | 'loopback' | 'takeover' | 'egressFallback'
    >,
  ) {}

  /** As bound so far. */
  get ports(): AgentPorts {
    return this.#ports;
  }

  /** What a successor must know. */
  get state(): ListenState {
    return listenStateOf(this.config, this.#ports);
  }

  /** @throws Error if the address cannot be listened on, as openForApps() does */
  openForAgents(): void {
    const { host, port } = this.config.inbound;
    this.#ports = { inbound: this.engine.listen({ role: 'peer', host, port }).port };
  }

  /** Its own applications, and those of other agents where that is allowed; the latter show `loopback.token`. */
  openForApps(): void {
    const { loopback, egressFallback, socket } = this.config;
    if (loopback.enabled) this.#ports = { ...this.#ports, loopback: this.#openPort(loopback) };
    if (egressFallback.enabled) this.#ports = { ...this.#ports, fallback: this.#openPort(egressFallback) };
    const { path, mode, group } = socket;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const octal = Number.parseInt(mode, 8);
    const spec = { role: 'app', path, mode: octal, ...(group === null ? {} : { group }) } as const;
    this.#forApps.push(this.engine.listen(spec).id);
    this.#files.add(path);
  }

  /** @throws Error saying why no successor can come here */
  openForSuccessor(): void {
    const { path } = this.config.takeover;
    const made = mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (made !== undefined) chmodSync(dirname(path), 0o700);
    const { mode, uid } = statSync(dirname(path));
    if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) {
      throw new Error(`${dirname(path)} must belong to this user and be closed to all others (chmod 700)`);
    }
    this.engine.listen({ role: 'successor', path });
    this.#files.add(path);
  }

  /** Of a takeover: the ports that will be this process's. */
  expect(state: ListenState): void {
    this.#ports = portsOf(state);
  }

  /** Goes on with what was taken over. */
  adopt(listeners: TakenOver['listeners']): void {
    this.#forApps = listeners.filter(({ role }) => role === 'app').map(({ id }) => id);
    this.#files.add(this.config.socket.path);
    this.#files.add(this.config.takeover.path);
  }

  /** Takes in no more applications; whoever looks for the sockets finds none. */
  closeForApps(): void {
    for (const id of this.#forApps) this.engine.commands.closeListener(id);
    this.engine.flush();
    this.#forApps = [];
    this.#files.removeAll();
  }

  #openPort({ host, port }: { host: string; port: number }): number {
    const listener = this.engine.listen({ role: 'app', host, port });
    this.#forApps.push(listener.id);
    return listener.port;
  }
}
