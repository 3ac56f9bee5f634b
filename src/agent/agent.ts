// The agent: engine, registry, listeners and policy put together, from start to drain. Called by the command line. What must
// stay true: nothing is published before it can be reached, and a drain ends nothing that was accepted.
import { mkdirSync, statSync, unlinkSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { AgentView, ReadyView } from '../observe/agent-view.js';
import { errorText } from '../base/errors.js';
import { statusName } from '../base/status.js';
import { diffConfig } from '../config/diff-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { Engine } from '../native/engine.js';
import type { EngineListener, EngineNotice, EngineOptions } from '../native/engine.js';
import { balancerOf } from '../policy/balancer-of.js';
import { TokenBucket } from '../policy/token-bucket.js';
import { openRegistry } from '../registry/open-registry.js';
import type { Registry } from '../registry/registry.js';
import { Control } from './control.js';
import { viewOf } from './engine-view.js';
import { Filters } from './filters.js';
import { Inbound } from './inbound.js';
import { Outbound } from './outbound.js';
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
}

/** See the file's head. */
export class Agent {
  readonly engine: Engine;
  readonly outboundRoutes: ServiceRoutes;
  readonly inboundRoutes: ServiceRoutes;
  readonly view: AgentView;
  #config: AgentConfig;
  #filters: Filters;
  #registry!: Registry;
  #outbound!: Outbound;
  #inbound!: Inbound;
  #upcalls!: Upcalls;
  #ports!: AgentPorts;
  #appListeners: EngineListener[] = [];
  #inboundListener!: EngineListener;
  #socketInode: number | undefined;
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
    this.engine = new Engine(engineOptions(config), (notice) => this.#onNotice(notice));
    const ids = new EngineIds();
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
  static async start(config: AgentConfig, log: Logger): Promise<Agent> {
    const agent = new Agent(config, await Filters.load(config.filters), log);
    try {
      await agent.#start();
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
  get ports(): AgentPorts {
    return this.#ports;
  }

  /** Whether this agent should get traffic. */
  ready(): ReadyView {
    const reasons: string[] = [];
    if (this.#draining) reasons.push('the agent is draining');
    if (this.#registryProblem !== null) reasons.push(`registry: ${this.#registryProblem}`);
    return { ok: reasons.length === 0, reasons };
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
    const { log, timeouts, balancer, filters: filterSources } = config;
    this.#config = {
      ...this.#config,
      log,
      balancer,
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
    this.#closeAppListeners();
    await this.#inbound.deregisterAll().catch((error: unknown) => {
      this.log.warn({ error: errorText(error) }, 'could not take everything out of the registry');
    });
    const { missed } = await this.engine.goAway('', Math.min(goAwayTimeoutMs, drainMs), true);
    if (missed > 0) this.log.warn({ missed }, 'some peers did not acknowledge the go-away');
    const finished = await Promise.race([
      this.engine.idle().then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, drainMs, false).unref()),
    ]);
    if (!finished) this.log.warn({ drainMs }, 'requests were still running at the end of timeouts.drainMs');
  }

  /** Ends everything at once; call drain() first for a graceful end. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#closeAppListeners();
    this.#outbound?.close();
    this.engine.close();
    await this.#registry?.close().catch((error: unknown) => {
      this.log.warn({ error: errorText(error) }, 'closing the registry failed');
    });
  }

  async #start(): Promise<void> {
    const config = this.#config;
    this.#registry = await openRegistry(config.registry, config.limits, (problem) => {
      this.#registryProblem = problem;
      if (problem === null) this.log.info('the registry is well again');
      else this.log.warn({ problem }, 'the registry is in trouble; the last good list serves on');
    });
    // From here on to the last listener nothing waits: whoever connects finds an agent that can decide.
    const { host, port } = config.inbound;
    this.#inboundListener = this.engine.listen({ role: 'peer', host, port });
    this.#outbound = new Outbound(this.outboundRoutes, this.#registry, config.limits.services);
    const advertised = {
      host: config.advertise.host,
      port: config.advertise.port ?? this.#inboundListener.port,
      zone: config.advertise.zone,
    };
    const trouble = (message: string, error: unknown): void =>
      this.log.warn({ error: errorText(error) }, message);
    this.#inbound = new Inbound(
      this.engine,
      this.inboundRoutes,
      this.#registry,
      config.app,
      advertised,
      config.limits.publications,
      trouble,
    );
    const control = new Control(this.#inbound);
    this.#upcalls = new Upcalls(this.engine, this.#outbound, this.#inbound, control, () => this.#filters);

    let loopbackPort: number | undefined;
    if (config.loopback.enabled) {
      const spec = { role: 'app', host: config.loopback.host, port: config.loopback.port } as const;
      const loopback = this.engine.listen(spec);
      this.#appListeners.push(loopback);
      loopbackPort = loopback.port;
    }
    const { path, mode, group } = config.socket;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const octal = Number.parseInt(mode, 8);
    this.#appListeners.push(
      this.engine.listen({ role: 'app', path, mode: octal, ...(group === null ? {} : { group }) }),
    );
    this.#socketInode = statSync(path).ino;
    this.#ports = {
      inbound: this.#inboundListener.port,
      ...(loopbackPort === undefined ? {} : { loopback: loopbackPort }),
    };
    this.log.info({ socket: path, ...this.#ports, advertised }, 'the agent is ready');
  }

  #closeAppListeners(): void {
    for (const { id } of this.#appListeners) this.engine.commands.closeListener(id);
    this.engine.flush();
    this.#appListeners = [];
    const { path } = this.#config.socket;
    try {
      // Another agent may have put its own socket there meanwhile.
      if (this.#socketInode !== undefined && statSync(path).ino === this.#socketInode) unlinkSync(path);
    } catch {
      // Gone already.
    }
    this.#socketInode = undefined;
  }

  #onNotice(notice: EngineNotice): void {
    switch (notice.type) {
      case 'upcall':
        this.#upcalls.handle(notice);
        break;
      case 'link-up': {
        const { link, kind, role, peer, app } = notice;
        this.log.info({ link, kind, role, peer, app }, 'link opened');
        break;
      }
      case 'link-down':
        this.log.info({ link: notice.link, reason: notice.reason }, 'link closed');
        this.#inbound?.linkDown(notice.link);
        break;
      case 'listener-problem':
        this.log.error({ problem: notice.text }, 'a listener is in trouble; it goes on by itself');
        break;
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

function engineOptions(config: AgentConfig): EngineOptions {
  const { limits, timeouts } = config;
  return {
    app: config.app,
    ...(config.loopback.token === null ? {} : { loopbackToken: config.loopback.token }),
    shmEnabled: config.shm.enabled,
    batchScheduling: config.worker.scheduling === 'auto',
    ringBytes: config.shm.ringBytes,
    allowUids: config.socket.allowUids,
    maxLinks: limits.links,
    maxLinksPerUid: limits.linksPerUid,
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
    defaultTimeoutMs: timeouts.defaultMs,
    maxTimeoutMs: timeouts.maxMs,
    connectTimeoutMs: timeouts.connectMs,
    keepaliveMs: timeouts.keepaliveMs,
    seed: randomInt(2 ** 47),
  };
}
