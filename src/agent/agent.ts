// The agent: engine, registry, listeners and policy put together, from start to drain. Called by the command line. What must
// stay true: nothing is published before it can be reached, and a drain ends nothing that was accepted.
import { chmodSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { AgentView, HandoffView, LimitView, ReadyView } from '../observe/agent-view.js';
import { errorText } from '../base/errors.js';
import { statusName } from '../base/status.js';
import { diffConfig } from '../config/diff-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { decodeAgentState, encodeAgentState } from '../handoff/agent-state.js';
import type { AgentState } from '../handoff/agent-state.js';
import { Engine } from '../native/engine.js';
import type { EngineListener, EngineNotice, EngineOptions } from '../native/engine.js';
import { balancerOf } from '../policy/balancer-of.js';
import { TokenBucket } from '../policy/token-bucket.js';
import { openRegistry } from '../registry/open-registry.js';
import type { Registry } from '../registry/registry.js';
import { Control } from './control.js';
import { viewOf } from './engine-view.js';
import { EgressFallback } from './egress-fallback.js';
import { Filters } from './filters.js';
import { Inbound } from './inbound.js';
import type { Advertised } from './inbound.js';
import { LegacyDirectory } from './legacy-directory.js';
import { Outbound } from './outbound.js';
import { Programs } from './programs.js';
import { EngineIds, ServiceRoutes } from './service-routes.js';
import { Upcalls } from './upcalls.js';

/** Failed and slow requests written to the log per second, at most. */
const recordsPerSecond = 20;
const goAwayTimeoutMs = 2_000;

/** The ports an agent really listens on. */
export interface AgentPorts {
  readonly inbound: number;
  /** Absent where the loopback listener is off. */
  readonly loopback?: number;
  /** Where applications of other agents are taken in; absent where that is off. */
  readonly fallback?: number;
}

/** See the file's head. */
export class Agent {
  readonly engine: Engine;
  readonly outboundRoutes: ServiceRoutes;
  readonly inboundRoutes: ServiceRoutes;
  readonly view: AgentView;
  readonly #ids: EngineIds;
  #config: AgentConfig;
  #filters: Filters;
  #registry!: Registry;
  #outbound!: Outbound;
  #inbound!: Inbound;
  #programs!: Programs;
  #fallback: EgressFallback | undefined;
  #legacyDirectory!: LegacyDirectory;
  #upcalls!: Upcalls;
  #ports!: AgentPorts;
  #control!: Control;
  #appListeners: Pick<EngineListener, 'id'>[] = [];
  /** Sockets in the file system that go with this agent. */
  readonly #socketFiles = new Map<string, number>();
  /** Resolves when another process has everything; this one only has to leave then. */
  readonly handedOver: Promise<void>;
  #onHandedOver: () => void = () => undefined;
  #handoff: HandoffView = { done: 0, failed: 0, last: null };
  #registryProblem: string | null = null;
  #draining = false;
  #stopped = false;
  readonly #records = new TokenBucket(recordsPerSecond, recordsPerSecond, 0);

  private constructor(
    config: AgentConfig,
    filters: Filters,
    private readonly log: Logger,
  ) {
    this.#config = config;
    this.#filters = filters;
    this.handedOver = new Promise((resolve) => (this.#onHandedOver = resolve));
    this.engine = new Engine(engineOptions(config), (notice) => this.#onNotice(notice));
    this.#ids = new EngineIds();
    const ids = this.#ids;
    const policy = {
      balancerOf: (service: string) => balancerOf(service, this.#config.balancer),
      hasFilter: (direction: 'outbound' | 'inbound', service: string) =>
        this.#filters.has(direction, service),
    };
    this.outboundRoutes = new ServiceRoutes('outbound', this.engine, ids, policy);
    this.inboundRoutes = new ServiceRoutes('inbound', this.engine, ids, policy);
    this.view = viewOf(this);
  }

  /**
   * Starts an agent; resolves when apps and other agents can connect.
   * @throws Error saying which listener, filter or directory is at fault; nothing is left behind then
   */
  static start(config: AgentConfig, log: Logger): Promise<Agent> {
    return Agent.#begin(config, log, (agent) => agent.#start());
  }

  /**
   * Takes over from the running agent behind `takeover.path`; resolves when this one serves and the other has let go.
   * @param software names this process to the other one
   * @throws Error saying why not; the other agent goes on then as if nothing had happened
   */
  static takeOver(config: AgentConfig, log: Logger, software: string): Promise<Agent> {
    return Agent.#begin(config, log, (agent) => agent.#takeOver(software));
  }

  static async #begin(
    config: AgentConfig,
    log: Logger,
    begin: (agent: Agent) => Promise<void>,
  ): Promise<Agent> {
    const agent = new Agent(config, await Filters.load(config.filters), log);
    try {
      await begin(agent);
    } catch (error) {
      await agent.stop();
      throw error;
    }
    return agent;
  }

  get config(): AgentConfig {
    return this.#config;
  }
  get registry(): Registry {
    return this.#registry;
  }
  get programs(): Programs {
    return this.#programs;
  }
  get ports(): AgentPorts {
    return this.#ports;
  }
  get handoff(): HandoffView {
    return this.#handoff;
  }

  /** Whether this agent should get traffic. */
  ready(): ReadyView {
    const reasons: string[] = [];
    if (this.#draining) reasons.push('the agent is draining');
    if (this.#registryProblem !== null) reasons.push(`registry: ${this.#registryProblem}`);
    return { ok: reasons.length === 0, reasons };
  }

  /** How much is used of the bounds that are kept here; both kinds of publications have as many each. */
  limits(): LimitView[] {
    const { limits } = this.#config;
    const { services, read } = this.#registry.view();
    const published = Math.max(this.#inbound.size, this.#legacyDirectory.size);
    return [
      { name: 'services', used: services, max: limits.services },
      { name: 'publications', used: published, max: limits.publications },
      { name: 'instances', used: read, max: limits.instances },
    ];
  }

  /**
   * Takes over what can change while running.
   * @returns the fields that changed but need a new process
   * @throws Error if a filter does not load; the old configuration stays in force then
   */
  async reload(config: AgentConfig): Promise<{ live: string[]; restart: string[] }> {
    const difference = diffConfig(this.#config, config);
    const filters = await Filters.load(config.filters);
    // What needs a restart keeps its old value, so that what is shown is what is in force.
    const { log, timeouts, balancer, publish, filters: filterSources } = config;
    this.#config = {
      ...this.#config,
      log,
      balancer,
      publish,
      filters: filterSources,
      timeouts: {
        ...this.#config.timeouts,
        ...{ defaultMs: timeouts.defaultMs, maxMs: timeouts.maxMs, drainMs: timeouts.drainMs },
      },
    };
    this.#filters = filters;
    this.log.level = log.level;
    this.engine.commands.setTimeouts(timeouts.defaultMs, timeouts.maxMs);
    this.outboundRoutes.refresh();
    this.inboundRoutes.refresh();
    if (!this.#draining) await this.#programs.apply(publish);
    return difference;
  }

  /**
   * Goes away without losing a request: out of the registry, go-away to peers and apps, then waits until nothing is in
   * flight, at most `timeouts.drainMs`.
   */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const drainMs = this.#config.timeouts.drainMs;
    this.engine.commands.refuseHandoff('this agent is draining');
    this.#closeAppListeners();
    await this.#programs.stop();
    await this.#fallback?.close();
    await this.#inbound.deregisterAll().catch((error: unknown) => {
      this.log.warn({ error: errorText(error) }, 'could not take everything out of the registry');
    });
    await this.#legacyDirectory.close();
    const { missed } = await this.engine.goAway('', Math.min(goAwayTimeoutMs, drainMs), true);
    if (missed > 0) this.log.warn({ missed }, 'some peers did not acknowledge the go-away');
    const finished = await Promise.race([
      this.engine.idle().then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, drainMs, false).unref()),
    ]);
    if (!finished) this.log.warn({ drainMs }, 'requests were still running at the end of timeouts.drainMs');
  }

  /** After `handedOver`: leaves without a word to the registry, whose leases are another process's now. */
  leave(): void {
    this.#stopped = true;
    this.#outbound.close();
    this.engine.close();
  }

  /** Ends everything at once; call drain() first for a graceful end. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#closeAppListeners();
    this.#outbound?.close();
    await this.#programs?.stop();
    this.engine.close();
    await this.#registry?.close().catch((error: unknown) => {
      this.log.warn({ error: errorText(error) }, 'closing the registry failed');
    });
  }

  async #start(): Promise<void> {
    const config = this.#config;
    await this.#openRegistry();
    // From here on to the last listener nothing waits: whoever connects finds an agent that can decide.
    const { host, port } = config.inbound;
    const inbound = this.engine.listen({ role: 'peer', host, port });
    this.#compose(inbound.port);

    let loopbackPort: number | undefined;
    if (config.loopback.enabled) {
      const spec = { role: 'app', host: config.loopback.host, port: config.loopback.port } as const;
      const loopback = this.engine.listen(spec);
      this.#appListeners.push(loopback);
      loopbackPort = loopback.port;
    }
    const fallbackPort = this.#listenForOthers();
    const { path, mode, group } = config.socket;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const octal = Number.parseInt(mode, 8);
    this.#appListeners.push(
      this.engine.listen({ role: 'app', path, mode: octal, ...(group === null ? {} : { group }) }),
    );
    this.#socketFiles.set(path, statSync(path).ino);
    this.#ports = {
      inbound: inbound.port,
      ...(loopbackPort === undefined ? {} : { loopback: loopbackPort }),
      ...(fallbackPort === undefined ? {} : { fallback: fallbackPort }),
    };
    this.#offerFallback();
    if (config.takeover.enabled) this.#awaitSuccessor();
    await this.#programs.apply(config.publish);
    this.log.info({ socket: path, ...this.#ports, advertised: this.#advertised() }, 'the agent is ready');
  }

  async #openRegistry(): Promise<void> {
    const { registry, limits } = this.#config;
    this.#registry = await openRegistry(registry, limits, (problem) => {
      this.#registryProblem = problem;
      if (problem === null) this.log.info('the registry is well again');
      else this.log.warn({ problem }, 'the registry is in trouble; the last good list serves on');
    });
  }

  /** Makes what decides; `inboundPort` is where other agents reach this one. */
  #compose(inboundPort: number): void {
    const config = this.#config;
    this.#ports = { inbound: inboundPort };
    this.#outbound = new Outbound(this.outboundRoutes, this.#registry, config.limits.services);
    const trouble = (message: string, error: unknown): void =>
      this.log.warn({ error: errorText(error) }, message);
    this.#inbound = new Inbound(
      this.engine,
      this.inboundRoutes,
      this.#registry,
      config.app,
      this.#advertised(),
      config.limits.publications,
      trouble,
    );
    this.#programs = new Programs(this.#inbound, this.log);
    const { egressFallback } = config;
    this.#control = new Control(this.#inbound, !egressFallback.enabled || egressFallback.force);
    this.#legacyDirectory = new LegacyDirectory(
      this.#registry,
      config.limits.publications,
      config.legacy.registration,
      trouble,
    );
    this.#upcalls = new Upcalls(
      this.engine,
      this.#outbound,
      this.#inbound,
      this.#control,
      this.#legacyDirectory,
      () => this.#filters,
    );
  }

  /** Listens for applications of other agents where that is allowed; they show `loopback.token`. */
  #listenForOthers(): number | undefined {
    const { enabled, host, port } = this.#config.egressFallback;
    if (!enabled) return undefined;
    const listener = this.engine.listen({ role: 'app', host, port });
    this.#appListeners.push(listener);
    return listener.port;
  }

  #offerFallback(): void {
    const { fallback } = this.#ports;
    if (fallback === undefined) {
      EgressFallback.forget(this.#config);
      return;
    }
    this.#fallback = new EgressFallback(this.#registry, this.#config, (message, error) =>
      this.log.warn({ error: errorText(error) }, message),
    );
    this.#fallback.start(fallback);
  }

  #advertised(): Advertised {
    const { host, port, zone } = this.#config.advertise;
    return { host, port: port ?? this.#ports.inbound, zone };
  }

  /** Nobody is harmed by an agent that cannot be upgraded, so trouble here is only told. */
  #awaitSuccessor(): void {
    const { path } = this.#config.takeover;
    try {
      const made = mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      if (made !== undefined) chmodSync(dirname(path), 0o700);
      const { mode, uid } = statSync(dirname(path));
      if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) {
        throw new Error(`${dirname(path)} must belong to this user and be closed to all others (chmod 700)`);
      }
      this.engine.listen({ role: 'successor', path });
      this.#socketFiles.set(path, statSync(path).ino);
    } catch (error) {
      this.log.warn(
        { error: errorText(error) },
        'this agent can only be replaced by a restart: it cannot listen for a successor (takeover.path)',
      );
    }
  }

  /** The old process's side: what the successor must know; after it nothing of that changes. */
  async #offerHandoff(pid: number, software: string): Promise<void> {
    if (this.#draining) {
      this.engine.commands.refuseHandoff('this agent is draining');
      return;
    }
    this.log.info({ pid, software }, 'a new process asks to take over');
    const { failed } = this.#handoff;
    await this.#programs.stop();
    await this.#control.pause();
    if (failed !== this.#handoff.failed) {
      this.#goOn(); // the new process went away meanwhile
      return;
    }
    const { services, publications } = this.#inbound.export();
    const { socket, inbound, loopback, takeover, egressFallback } = this.#config;
    const state: AgentState = {
      socketPath: socket.path,
      inboundListener: { host: inbound.host, port: inbound.port, actualPort: this.#ports.inbound },
      loopbackListener: listeningOf(loopback, this.#ports.loopback),
      fallbackListener: listeningOf(egressFallback, this.#ports.fallback),
      unusedIds: this.#ids.unused,
      outbound: this.outboundRoutes.export(),
      inbound: services,
      publications,
      handoffs: { done: this.#handoff.done, failed: this.#handoff.failed },
    };
    this.engine.commands.offerHandoff(encodeAgentState(state), takeover.freezeMs);
  }

  /** Does again what stands still while a new process is offered everything. */
  #goOn(): void {
    this.#control.resume();
    this.#programs.apply(this.#config.publish).catch(() => undefined); // fails only where the engine is closed
  }

  async #takeOver(software: string): Promise<void> {
    const { takeover, socket } = this.#config;
    await this.#openRegistry();
    const offer = await this.engine.takeOver(takeover.path, software, takeover.deadlineMs);
    let state: AgentState;
    try {
      state = decodeAgentState(offer);
      this.#checkListeners(state);
    } catch (error) {
      this.engine.commands.refuseHandoff(errorText(error));
      throw error;
    }
    this.#compose(state.inboundListener.actualPort);
    this.#ids.startFrom(state.unusedIds);
    this.#outbound.adopt(state.outbound);
    this.#inbound.adopt(state.inbound, state.publications);
    const taken = await this.engine.takeOverReady();

    this.#appListeners = taken.listeners.filter(({ role }) => role === 'app');
    this.#ports = {
      inbound: state.inboundListener.actualPort,
      ...(state.loopbackListener === null ? {} : { loopback: state.loopbackListener.actualPort }),
      ...(state.fallbackListener === null ? {} : { fallback: state.fallbackListener.actualPort }),
    };
    this.#offerFallback();
    for (const path of [socket.path, takeover.path]) {
      const inode = inodeOf(path);
      if (inode !== undefined) this.#socketFiles.set(path, inode);
    }
    await this.#inbound.confirm(new Set(taken.links));
    await this.#programs.apply(this.#config.publish);
    const { freezeUs, links, pending, parked } = taken;
    const { done, failed } = state.handoffs;
    const last = { freezeUs, links: links.length, pending, parked };
    this.#handoff = { done: done + 1, failed, last };
    this.log.info({ ...last, socket: socket.path, ...this.#ports }, 'took over; the agent is ready');
  }

  /** Sockets move as they are, so this process must be meant to listen where the other one does. */
  #checkListeners(state: AgentState): void {
    const { socket, inbound, loopback, egressFallback } = this.#config;
    const same = (a: ListenAddress, b: ListenAddress): boolean => a.host === b.host && a.port === b.port;
    const sameIfAny = (was: ListenAddress | null, is: ListenAddress & { enabled: boolean }): boolean =>
      was === null ? !is.enabled : is.enabled && same(was, is);
    const changed = [
      ...(state.socketPath === socket.path ? [] : ['socket.path']),
      ...(same(state.inboundListener, inbound) ? [] : ['inbound']),
      ...(sameIfAny(state.loopbackListener, loopback) ? [] : ['loopback']),
      ...(sameIfAny(state.fallbackListener, egressFallback) ? [] : ['egressFallback']),
    ];
    if (changed.length > 0) {
      throw new Error(
        `a takeover cannot change where the agent listens, and these differ: ${changed.join(', ')}`,
      );
    }
  }

  #closeAppListeners(): void {
    for (const { id } of this.#appListeners) this.engine.commands.closeListener(id);
    this.engine.flush();
    this.#appListeners = [];
    for (const [path, inode] of this.#socketFiles) {
      try {
        // Another agent may have put its own socket there meanwhile.
        if (inodeOf(path) === inode) unlinkSync(path);
      } catch {
        // Gone already.
      }
    }
    this.#socketFiles.clear();
  }

  #onNotice(notice: EngineNotice): void {
    switch (notice.type) {
      case 'upcall':
        this.#upcalls.handle(notice);
        break;
      case 'link-up': {
        const { link, kind, role, peer, app, note } = notice;
        const fields = { link, kind, role, peer, app };
        if (note === '' || !this.#config.shm.enabled) this.log.info(fields, 'link opened');
        else
          this.log.warn(
            { ...fields, problem: note },
            'link opened without the shared memory that was asked for',
          );
        break;
      }
      case 'link-down':
        this.log.info({ link: notice.link, reason: notice.reason }, 'link closed');
        this.#inbound?.linkDown(notice.link);
        break;
      case 'handoff-asked':
        this.#offerHandoff(notice.pid, notice.software).catch((error: unknown) =>
          this.engine.commands.refuseHandoff(errorText(error)),
        );
        break;
      case 'handed-over': {
        const { freezeUs, links, pending, parked } = notice;
        this.log.info({ freezeUs, links, pending, parked }, 'handed over to the new process');
        this.#onHandedOver();
        break;
      }
      case 'handoff-failed':
        this.#handoff = { ...this.#handoff, failed: this.#handoff.failed + 1 };
        this.log.warn({ reason: notice.text }, 'the handoff failed; this agent goes on');
        this.#goOn();
        break;
      case 'listener-problem':
        if (notice.text === '') this.log.info('connections are accepted again');
        else this.log.error({ problem: notice.text }, 'a listener is in trouble; it goes on by itself');
        break;
      case 'upstream-problem': {
        const { address, text } = notice;
        if (text === '') this.log.info({ address }, 'another agent is reached again');
        else
          this.log.warn(
            { address, problem: text },
            'another agent cannot be reached; it is tried again by itself',
          );
        break;
      }
      case 'record': {
        if (!this.#records.take(performance.now())) break;
        const { status, latencyUs, direction, service, upstream, sourceApp, text } = notice;
        const fields = {
          status: statusName(status),
          latencyUs,
          direction,
          service,
          upstream,
          sourceApp,
          text,
        };
        this.log.info(fields, status === 0 ? 'slow request' : 'failed request');
        break;
      }
    }
  }
}

interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** A listener for a successor; null where it is off. */
function listeningOf(
  { host, port }: ListenAddress,
  actualPort: number | undefined,
): AgentState['loopbackListener'] {
  return actualPort === undefined ? null : { host, port, actualPort };
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function engineOptions(config: AgentConfig): EngineOptions {
  const { limits, takeover, timeouts } = config;
  return {
    app: config.app,
    ...(config.loopback.token === null ? {} : { loopbackToken: config.loopback.token }),
    shmEnabled: config.shm.enabled,
    batchScheduling: config.worker.scheduling === 'auto',
    ringBytes: config.shm.ringBytes,
    allowUids: config.socket.allowUids,
    maxLinks: limits.links,
    maxLinksPerUid: limits.linksPerUid,
    maxLinksPerAddress: limits.linksPerAddress,
    maxPending: limits.pending,
    maxParked: limits.parked,
    maxParkedBytes: limits.parkedBytes,
    maxFlows: limits.flows,
    // A cluster for each service and group in use; both directions share the table.
    maxClusters: 4 * (limits.services + limits.publications),
    maxOutboundBytes: limits.outboundBytesPerLink,
    maxBodyBytes: limits.bodyBytes,
    maxStreamsPerLink: limits.streamsPerLink,
    upcallsPerSecondPerLink: limits.upcallsPerSecondPerLink,
    maxLegacyMessageBytes: limits.legacyMessageBytes,
    maxLegacyBytes: limits.legacyBytes,
    legacyConnectionsPerInstance: limits.legacyConnectionsPerInstance,
    defaultTimeoutMs: timeouts.defaultMs,
    maxTimeoutMs: timeouts.maxMs,
    connectTimeoutMs: timeouts.connectMs,
    keepaliveMs: timeouts.keepaliveMs,
    takeoverDeadlineMs: takeover.deadlineMs,
    seed: randomInt(2 ** 47),
  };
}
