// The agent: engine, registry, listeners and policy put together, from start to drain. Called by the command line. What must
// stay true: nothing is published before it can be reached, and a drain ends nothing that was accepted.
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AgentView, HandoffView, ReadyView } from '../observe/agent-view.js';
import { defaultAgentSocket, whyForeignDirectory } from '../base/default-socket.js';
import { errorText } from '../base/errors.js';
import { diffConfig, followed } from '../config/diff-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { decodeAgentState, encodeAgentState } from '../handoff/agent-state.js';
import type { AgentState } from '../handoff/agent-state.js';
import { checkListening } from '../handoff/listening.js';
import type { AgentPorts } from '../handoff/listening.js';
import { Engine } from '../native/engine.js';
import type { EngineNotice } from '../native/engine.js';
import { balancerOf } from '../policy/balancer-of.js';
import { openRegistry } from '../registry/open-registry.js';
import type { Registry } from '../registry/registry.js';
import { makeDeciders } from './deciders.js';
import type { Deciders } from './deciders.js';
import { EgressFallback } from './egress-fallback.js';
import { engineOptions } from './engine-options.js';
import { viewOf } from './engine-view.js';
import { Filters } from './filters.js';
import type { Advertised } from './inbound.js';
import { Listeners } from './listeners.js';
import { NoticeLog } from './notice-log.js';
import { EngineIds, ServiceRoutes } from './service-routes.js';

const goAwayTimeoutMs = 2_000;

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
  #deciders!: Deciders;
  #fallback: EgressFallback | undefined;
  readonly #listeners: Listeners;
  readonly #notices: NoticeLog;
  /** Resolves when another process has everything; this one only has to leave then. */
  readonly handedOver: Promise<void>;
  #onHandedOver: () => void = () => undefined;
  #handoff: HandoffView = { done: 0, failed: 0, last: null };
  /** While a new process is taking over: settles when that has failed. */
  #offering: { readonly failed: Promise<void>; readonly fail: () => void } | undefined;
  #draining = false;
  #stopped = false;

  private constructor(
    config: AgentConfig,
    filters: Filters,
    private readonly log: Logger,
  ) {
    this.#config = config;
    this.#filters = filters;
    this.handedOver = new Promise((resolve) => (this.#onHandedOver = resolve));
    this.#notices = new NoticeLog(log, config.shm.enabled);
    this.engine = new Engine(engineOptions(config), (notice) => this.#onNotice(notice));
    this.#listeners = new Listeners(this.engine, config);
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
   * @param givenUp ends the attempt, unless everything has been taken over already
   * @throws Error saying why not; the other agent goes on then as if nothing had happened
   */
  static takeOver(config: AgentConfig, log: Logger, software: string, givenUp?: AbortSignal): Promise<Agent> {
    return Agent.#begin(config, log, (agent) => agent.#takeOver(software, givenUp));
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
  get deciders(): Deciders {
    return this.#deciders;
  }
  get ports(): AgentPorts {
    return this.#listeners.ports;
  }
  get handoff(): HandoffView {
    return this.#handoff;
  }

  /** Whether this agent can serve. */
  ready(): ReadyView {
    const reasons: string[] = [];
    if (this.#draining) reasons.push('the agent is draining');
    const { usable, place, problem, problemsBySource } = this.#registry;
    if (!usable)
      reasons.push(`registry unread: ${place} has not answered yet${problem === null ? '' : `: ${problem}`}`);
    // With a good list requests find their way: no reason to send this agent none.
    const warnings = problemsBySource.map((text) => `registry ${text}`);
    return { ok: reasons.length === 0, reasons, warnings };
  }

  /**
   * Takes over what can change while running.
   * @returns the fields that changed but need a new process
   * @throws Error if a filter does not load; the old configuration stays in force then
   */
  async reload(config: AgentConfig): Promise<{ live: string[]; restart: string[] }> {
    const difference = diffConfig(this.#config, config);
    const filters = await Filters.load(config.filters);
    this.#config = followed(this.#config, config);
    this.#filters = filters;
    const { log, timeouts, publish } = this.#config;
    this.log.level = log.level;
    this.engine.commands.setTimeouts(timeouts.defaultMs, timeouts.maxMs);
    this.outboundRoutes.refresh();
    this.inboundRoutes.refresh();
    // What a new process is being offered must not change; it reads the configuration itself, or #goOn() applies this.
    if (!this.#draining && this.#offering === undefined) await this.#deciders.programs.apply(publish);
    return difference;
  }

  /**
   * Goes away without losing a request. What others ask of its apps ends first: out of the registry, go-away to the other agents. What
   * its apps ask goes on, since they may need it to answer what they have accepted, until each has closed its links or
   * `timeouts.drainMs` is over; then they are asked to stop, too, and what is under way has at most two seconds more.
   */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { drainMs } = this.#config.timeouts;
    const lastMs = Math.min(goAwayTimeoutMs, drainMs);
    const over = pause(drainMs, false as const, { ref: false });
    this.engine.commands.refuseHandoff('this agent is draining');
    // If it has happened already, what stands in the registry is another process's.
    const takenOver = await Promise.race([
      this.#offering?.failed.then(() => false) ?? false,
      this.handedOver.then(() => true),
    ]);
    if (takenOver) return;
    this.#listeners.closeForApps();
    const { inbound, outbound, programs } = this.#deciders;
    outbound.keep(inbound.instances());
    await Promise.race([Promise.all([programs.stop(), this.#leaveRegistry()]), over]);
    const { missed } = await this.engine.goAway('', lastMs);
    if (missed > 0) this.log.warn({ missed }, 'some peers did not acknowledge the go-away');
    this.log.info(
      { drainMs },
      'no new requests come from other agents; applications may go on until they close or timeouts.drainMs is over',
    );
    if (await Promise.race([this.engine.idle(true).then(() => true), over])) return;
    const end = pause(lastMs, false as const, { ref: false });
    this.log.info('timeouts.drainMs is over: applications that are still linked are asked to stop');
    await this.engine.goAway('', lastMs, true);
    if (await Promise.race([this.engine.idle().then(() => true), end])) return;
    this.log.warn({ drainMs }, 'requests were still running at the end of timeouts.drainMs');
  }

  /** Takes out of the registry what others could find of this agent; where that cannot be told now, leases end by themselves. */
  async #leaveRegistry(): Promise<void> {
    const { inbound, legacyDirectory } = this.#deciders;
    const leaving = [
      this.#fallback?.close() ?? Promise.resolve(),
      ...[inbound.deregisterAll(), legacyDirectory.close()],
    ];
    for (const outcome of await Promise.allSettled(leaving)) {
      if (outcome.status === 'rejected')
        this.log.warn({ error: errorText(outcome.reason) }, 'could not take everything out of the registry');
    }
  }

  /** After `handedOver`: leaves without a word to the registry, whose leases are another process's now. */
  leave(): void {
    this.#stopped = true;
    this.#notices.close();
    this.#deciders.outbound.close();
    this.engine.close();
  }

  /** Ends everything at once; call drain() first for a graceful end. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#notices.close();
    this.#listeners.closeForApps();
    this.#deciders?.outbound.close();
    await this.#deciders?.programs.stop();
    this.engine.close();
    await this.#registry?.close().catch((error: unknown) => {
      this.log.warn({ error: errorText(error) }, 'closing the registry failed');
    });
  }

  async #start(): Promise<void> {
    await this.#openRegistry();
    // From here on to the last listener nothing waits: whoever connects finds an agent that can decide.
    this.#listeners.openForAgents();
    this.#compose();
    this.#listeners.openForApps();
    this.#offerFallback();
    const { socket, publish, takeover } = this.#config;
    if (takeover.enabled) this.#awaitSuccessor();
    await this.#deciders.programs.apply(publish);
    this.log.info(
      { socket: socket.path, ...this.ports, advertised: this.#advertised() },
      'the agent is ready',
    );
  }

  async #openRegistry(): Promise<void> {
    const { registry, limits, socket } = this.#config;
    // Before anything is made or read there.
    const foreign = socket.path === defaultAgentSocket() ? whyForeignDirectory(socket.path) : undefined;
    if (foreign !== undefined) throw new Error(foreign);
    this.#registry = await openRegistry(registry, limits, (problem) => {
      this.#deciders?.outbound.registryChanged();
      if (problem === null) this.log.info('the registry is well again');
      else this.log.warn({ problem }, 'the registry is in trouble; the last good list serves on');
    });
  }

  #compose(): void {
    this.#deciders = makeDeciders({
      config: this.#config,
      engine: this.engine,
      registry: this.#registry,
      outboundRoutes: this.outboundRoutes,
      inboundRoutes: this.inboundRoutes,
      advertised: this.#advertised(),
      filters: () => this.#filters,
      log: this.log,
      onTrouble: this.#trouble,
    });
  }

  #offerFallback(): void {
    const { fallback } = this.ports;
    if (fallback === undefined) {
      EgressFallback.forget(this.#config);
      return;
    }
    this.#fallback = new EgressFallback(this.#registry, this.#config, this.#trouble);
    this.#fallback.start(fallback);
  }

  #advertised(): Advertised {
    const { host, port, zone } = this.#config.advertise;
    return { host, port: port ?? this.ports.inbound, zone };
  }

  /** Nobody is harmed by an agent that cannot be upgraded, so trouble here is only told. */
  #awaitSuccessor(): void {
    try {
      this.#listeners.openForSuccessor();
    } catch (error) {
      this.#trouble(
        'this agent can only be replaced by a restart: it cannot listen for a successor (takeover.path)',
        error,
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
    let fail = (): void => undefined;
    const failure = new Promise<void>((resolve) => (fail = resolve));
    this.#offering = { failed: failure, fail };
    const { failed } = this.#handoff;
    await this.#deciders.programs.stop();
    await this.#deciders.control.pause();
    await this.#deciders.legacyDirectory.pause();
    if (failed !== this.#handoff.failed) {
      this.#goOn(); // the new process went away meanwhile
      return;
    }
    const { services, publications } = this.#deciders.inbound.export();
    const state: AgentState = {
      ...this.#listeners.state,
      unusedIds: this.#ids.unused,
      outbound: this.outboundRoutes.export(),
      inbound: services,
      publications,
      registrations: this.#deciders.legacyDirectory.export(),
      registry: this.#registry.export(),
      handoffs: { done: this.#handoff.done, failed: this.#handoff.failed },
    };
    this.engine.commands.offerHandoff(encodeAgentState(state), this.#config.takeover.freezeMs);
  }

  /** Does again what stands still while a new process is offered everything. */
  #goOn(): void {
    this.#deciders.control.resume();
    this.#deciders.legacyDirectory.resume();
    this.#deciders.programs.apply(this.#config.publish).catch(() => undefined); // fails only where the engine is closed
  }

  async #takeOver(software: string, givenUp: AbortSignal | undefined): Promise<void> {
    const { takeover, socket } = this.#config;
    const asked = 'this process was asked to end';
    const giveUp = (): void => this.engine.commands.refuseHandoff(asked);
    await this.#openRegistry();
    if (givenUp?.aborted) throw new Error(asked);
    givenUp?.addEventListener('abort', giveUp);
    const offer = await this.engine.takeOver(takeover.path, software, takeover.deadlineMs);
    await nextTurn(); // a signal that came before the offer is heard before anything is taken
    let state: AgentState;
    try {
      state = decodeAgentState(offer);
      checkListening(state, this.#config);
    } catch (error) {
      this.engine.commands.refuseHandoff(errorText(error));
      throw error;
    }
    this.#listeners.expect(state);
    this.#compose();
    this.#ids.startFrom(state.unusedIds);
    if (state.registry !== undefined) this.#registry.adopt(state.registry);
    this.#deciders.outbound.adopt(state.outbound);
    this.#deciders.inbound.adopt(state.inbound, state.publications);
    this.#deciders.legacyDirectory.adopt(state.registrations);
    const taken = await this.engine.takeOverReady();
    givenUp?.removeEventListener('abort', giveUp);

    this.#listeners.adopt(taken.listeners);
    this.#offerFallback();
    this.#deciders.legacyDirectory.confirm();
    await this.#deciders.inbound.confirm(new Set(taken.links));
    await this.#deciders.programs.apply(this.#config.publish);
    const { freezeUs, links, pending, parked } = taken;
    const { done, failed } = state.handoffs;
    const last = { freezeUs, links: links.length, pending, parked };
    this.#handoff = { done: done + 1, failed, last };
    this.log.info({ ...last, socket: socket.path, ...this.ports }, 'took over; the agent is ready');
  }

  #onNotice(notice: EngineNotice): void {
    this.#notices.tell(notice);
    switch (notice.type) {
      case 'upcall':
        this.#deciders.upcalls.handle(notice);
        break;
      case 'link-down':
        this.#deciders?.inbound.linkDown(notice.link);
        break;
      case 'handoff-asked':
        this.#offerHandoff(notice.pid, notice.software).catch((error: unknown) =>
          this.engine.commands.refuseHandoff(errorText(error)),
        );
        break;
      case 'handed-over':
        this.#onHandedOver();
        break;
      case 'handoff-failed':
        this.#handoff = { ...this.#handoff, failed: this.#handoff.failed + 1 };
        this.#offering?.fail();
        this.#offering = undefined;
        this.#goOn();
        break;
    }
  }

  readonly #trouble = (message: string, error: unknown): void => this.#notices.trouble(message, error);
}
