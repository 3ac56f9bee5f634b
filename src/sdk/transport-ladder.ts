// The ladder from an app to its agent: shm, unix, tcp, and, where its agent allows it, another agent of the same app. It climbs down only as far as it must, keeps probing for a
// better rung while it stands on a lower one or on none, and moves calls to a new link without failing one. What
// must stay true: one climb at a time; a link is used only after its owner has prepared it (published on it); each
// change of transport is told once, with the reason.
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { errorText, MeshError } from '../base/errors.js';
import type { StatusName } from '../base/status.js';
import { backoffMs } from '../policy/backoff.js';
import { AgentUsers } from './agent-users.js';
import type { ChannelKind, OpenChannel } from './channel.js';
import { loadOpenAppLink, openShmChannel } from './channel-shm.js';
import type { OpenAppLink } from './channel-shm.js';
import { openTcpChannel, openUnixChannel } from './channel-socket.js';
import { readFallbackList } from './fallback-list.js';
import { encodeHello } from './hello.js';
import { Link, linkBounds } from './link.js';
import type { LinkEvents } from './link.js';
import type { LinkSource, LinkSourceEvents } from './link-source.js';
import { clientClosed } from './refusal.js';
import type { Settings } from './settings.js';
import type { TransportName } from './types.js';

/** What the owner of a ladder adds to it. */
export interface LadderEvents
  extends LinkSourceEvents, Pick<LinkEvents, 'onRequest' | 'onCancel' | 'onClosed'> {
  /** Readies a new link for use, for example by publishing; a rejection is one more reason to climb on. */
  prepare(link: Link): Promise<void>;
  /** What is not possible without an agent, said before the reasons where that is told to people. */
  readonly unreachable: string;
  /** Whether another agent may stand in: not for who serves, as only its own agent can publish for it. */
  readonly mayFallBack: boolean;
  /** A working link is left for a better one; it is still open. */
  leave(link: Link): Promise<void>;
}

/** Other agents that are tried in one climb. */
const maxFallbackAttempts = 3;

/** With these an agent says what it will say again, however often it is asked. */
const forGood = new Set<StatusName>([
  'INVALID_ARGUMENT',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'UNIMPLEMENTED',
  'FAILED_PRECONDITION',
  'ALREADY_EXISTS',
]);
const nobodyListens = /\b(ENOENT|ECONNREFUSED)\b/;
const whereNobodyListens = 'start the agent, or say where it listens with the option agent or RINGSIDE_AGENT';

export class TransportLadder implements LinkSource {
  transport: TransportName = 'none';
  #link: Link | undefined;
  #rung: number;
  #climbing: Promise<void> = Promise.resolve();
  #adoptedAtMs = 0;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lastReasons = '';
  /** The agent's own no in the last climb, to this application or its service. */
  #refusal: MeshError | undefined;
  /** Whether a climb in vain is told in the log: not the first one, where it is what start() rejects with. */
  #tellsRefusals = false;
  /** That there is no link was told, and that there is one again was not. */
  #refusalTold = false;
  /** Rungs that can never work in this process, with the reason. */
  readonly #impossible = new Map<ChannelKind, string>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #links = new Set<Link>();
  readonly #users: AgentUsers;

  constructor(
    readonly settings: Settings,
    readonly events: LadderEvents,
    readonly loadAppLink: () => Promise<OpenAppLink> = loadOpenAppLink,
  ) {
    this.#rung = settings.rungs.length;
    this.#users = new AgentUsers(settings);
  }

  /** First climb. Rejects with what was tried and why, unless `lazy`, and then leaves nothing behind. */
  async start(lazy: boolean): Promise<void> {
    this.#tellsRefusals = lazy;
    await this.#climb('');
    if (this.#link !== undefined || lazy) {
      this.#tellsRefusals = true;
      return;
    }
    this.#closed = true;
    clearTimeout(this.#timer);
    throw this.#unreachable(this.events.unreachable);
  }

  pick(service: string): Link | MeshError {
    const link = this.#link;
    if (link !== undefined && link.usable) return link;
    return this.#closed
      ? clientClosed()
      : this.#unreachable('no agent can be reached', `service ${service} was not called`);
  }

  /** What was tried, and what to do about it. An agent that is there and says no says it again. */
  #unreachable(prefix: string, consequence?: string): MeshError {
    const reasons = this.#lastReasons || 'connecting';
    const advice = nobodyListens.test(reasons) ? whereNobodyListens : undefined;
    const parts = [prefix, reasons, consequence, advice].filter((part) => part !== undefined);
    const refusal = this.#refusal;
    return new MeshError(refusal?.status ?? 'UNAVAILABLE', parts.join(': '), {
      mayHaveRun: false,
      ...(refusal === undefined ? {} : { retryable: false, cause: refusal }),
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return void (await Promise.all(this.#leaving));
    this.#closed = true;
    clearTimeout(this.#timer);
    const link = this.#link;
    if (link !== undefined)
      this.#leave(link.finish(this.settings.drainTimeoutMs, 'closed by this application'));
    await Promise.all(this.#leaving);
    for (const rest of this.#links) rest.close('closed by this application');
  }

  /** Climbs once those climbs that were asked for before have ended. */
  #climb(why: string): Promise<void> {
    this.#climbing = this.#climbing.then(() => this.#climbOnce(why));
    return this.#climbing;
  }

  /** Tries the rungs better than the present one, best first, and adopts the first that works. */
  async #climbOnce(why: string): Promise<void> {
    clearTimeout(this.#timer);
    const reasons: string[] = why === '' ? [] : [why];
    let refusal: MeshError | undefined;
    for (let rung = 0; rung < this.#ceiling(); rung += 1) {
      const kind = this.settings.rungs[rung]!;
      try {
        const link = await (kind === 'fallback' ? this.#openFallback() : this.#openOwn(kind));
        if (link === undefined) continue;
        if (rung < this.#ceiling()) this.#adopt(link, rung, reasons);
        else link.close('not needed any more');
        break;
      } catch (error) {
        reasons.push(`${kind}: ${errorText(error)}`);
        if (error instanceof MeshError && forGood.has(error.status)) refusal = error;
      }
    }
    this.#lastReasons = reasons.join('; ');
    this.#refusal = refusal;
    if (this.#link === undefined) this.#tellRefusal();
    this.#probeLater();
  }

  /** Rungs below this one are worth trying: all, if there is no link that takes calls. */
  #ceiling(): number {
    if (this.#closed) return 0;
    const link = this.#link;
    return link === undefined || link.goingAway || !link.usable ? this.settings.rungs.length : this.#rung;
  }

  #probeLater(): void {
    clearTimeout(this.#timer);
    const worthwhile = this.settings.rungs.some(
      (kind, rung) => rung < this.#ceiling() && !this.#impossible.has(kind),
    );
    if (!worthwhile) return;
    // Keeps the process alive: an app that serves must outlive a restart of its agent.
    this.#timer = setTimeout(() => void this.#climb(''), this.#nextPauseMs());
  }

  #nextPauseMs(): number {
    this.#failures += 1;
    return backoffMs(this.#failures, this.settings.backoff, Math.random);
  }

  /** True if the present link has lasted long enough that its end is news, not one more failed attempt. */
  #lasted(): boolean {
    const lasted = performance.now() - this.#adoptedAtMs >= this.settings.backoff.maxMs;
    if (lasted) this.#failures = 0;
    return lasted;
  }

  async #openOwn(kind: ChannelKind): Promise<Link> {
    const impossible = this.#impossible.get(kind);
    if (impossible !== undefined) throw new Error(impossible);
    return this.#open(kind, await this.#channel(kind));
  }

  /** A link to the first of the other agents, in an order of chance, that takes us; undefined where this is not allowed. */
  async #openFallback(): Promise<Link | undefined> {
    if (!this.events.mayFallBack) return undefined;
    this.#users.checkDirectory();
    const list = await readFallbackList(this.settings.socketPath!, this.#users);
    if (list === undefined) return undefined;
    const hello = encodeHello(this.settings.app, 0, list.token);
    const agents = list.agents.map((agent) => ({ agent, order: Math.random() }));
    agents.sort((a, b) => a.order - b.order);
    const reasons: string[] = [];
    for (const { agent } of agents.slice(0, maxFallbackAttempts)) {
      try {
        return await this.#open('fallback', (events) =>
          openTcpChannel(agent, hello, events, 'fallback', this.#whyNotAtPort),
        );
      } catch (error) {
        reasons.push(`${agent.host}:${agent.port} ${errorText(error)}`);
      }
    }
    throw new Error(reasons.join(', ') || 'there is no other agent of this application');
  }

  async #open(kind: ChannelKind, channel: OpenChannel): Promise<Link> {
    const link = new Link(
      channel,
      { role: 'connect', ...linkBounds(this.settings) },
      {
        onRequest: this.events.onRequest,
        onCancel: this.events.onCancel,
        onGoAway: (going) => void this.#goneAway(going),
        onClosed: (closed, reason) => this.#lost(closed, reason),
      },
    );
    this.#links.add(link);
    try {
      const welcome = await link.opened;
      if (kind === 'shm' && welcome.value === 0) {
        throw new Error(`the agent gives no ring: ${welcome.statusMessage || 'it did not say why'}`);
      }
      await this.events.prepare(link);
      if (!link.usable || link.goingAway) throw new Error('the link went away while it was being prepared');
      if (this.#closed) throw new Error('closed by this application');
      return link;
    } catch (error) {
      link.close(errorText(error));
      throw error;
    }
  }

  async #channel(kind: ChannelKind): Promise<OpenChannel> {
    const { app, token, ringBytes, socketPath, tcp } = this.settings;
    if (kind !== 'tcp') this.#users.checkDirectory();
    if (kind === 'shm') {
      let open: OpenAppLink;
      try {
        open = await this.loadAppLink();
      } catch (error) {
        this.#impossible.set(kind, errorText(error));
        throw error;
      }
      const hello = encodeHello(app, ringBytes, token);
      const agentUids = this.#users.allowed();
      return (events) => openShmChannel(open, socketPath!, hello, events, agentUids);
    }
    const hello = encodeHello(app, 0, token);
    if (kind === 'unix') {
      return (events) =>
        openUnixChannel(socketPath!, hello, events, (socket) => this.#users.whyNotAtSocket(socket));
    }
    return (events) => openTcpChannel(tcp!, hello, events, 'tcp', this.#whyNotAtPort);
  }

  readonly #whyNotAtPort = (socket: Socket): string | undefined => this.#users.whyNotAtPort(socket);

  #adopt(link: Link, rung: number, reasons: readonly string[]): void {
    const old = this.#link;
    const isRecovery = this.#refusalTold && old === undefined;
    this.#refusalTold = false;
    this.#link = link;
    this.#rung = rung;
    this.#adoptedAtMs = performance.now();
    if (old !== undefined && old.state === 'open') this.#leave(this.#moveFrom(old));
    const news = reasons.filter((reason) => this.#isNews(reason));
    this.#tell(
      link.kind,
      news.join('; ') || (old === undefined ? 'connected' : 'a better way is there'),
      // Whoever was told of the trouble is told of its end.
      (rung > 0 && news.length > 0) || isRecovery,
    );
  }

  /** What can never work in this process is worth one line in it; what failed this time is always told. */
  #isNews(reason: string): boolean {
    for (const [kind, why] of this.#impossible) {
      if (reason === `${kind}: ${why}`) return this.settings.isNews(reason);
    }
    return true;
  }

  /** The new link takes the calls; the old one serves what it has, says so to the agent, and closes. */
  async #moveFrom(old: Link): Promise<void> {
    if (old.goingAway) old.acknowledgeGoAway();
    else {
      old.draining = true;
      await this.events.leave(old);
    }
    await old.finish(this.settings.drainTimeoutMs, 'replaced by another link');
  }

  #leave(work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => this.#leaving.delete(tracked));
    this.#leaving.add(tracked);
  }

  /** The agent wants no more requests here: they go to a new link first, so that none fails in between. */
  async #goneAway(link: Link): Promise<void> {
    if (link === this.#link) {
      if (!this.#lasted()) await pause(this.#nextPauseMs());
      await this.#climb('the agent asked for a new link');
      if (link !== this.#link) return;
      this.#link = undefined;
      if (!this.#closed) this.#tell('none', `the agent goes away: ${this.#lastReasons}`, true);
      this.#leave(this.#moveFrom(link));
    } else link.acknowledgeGoAway();
  }

  #lost(link: Link, reason: string): void {
    this.#links.delete(link);
    this.events.onClosed(link, reason);
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#rung = this.settings.rungs.length;
    this.#lastReasons = `${link.kind}: ${reason}`;
    this.#tell('none', this.#closed ? reason : `the link is lost: ${reason}`, !this.#closed);
    if (this.#lasted()) void this.#climb('');
    else this.#probeLater();
  }

  /** The first climb in vain is news; those that follow are not. */
  #tellRefusal(): void {
    if (!this.#tellsRefusals || this.#refusalTold || this.#closed) return;
    this.#refusalTold = true;
    this.settings.log('warn', `${this.events.unreachable}: ${this.#lastReasons}; it is tried again`, {
      transport: 'none',
      app: this.settings.app,
    });
  }

  #tell(transport: TransportName, why: string, fallen: boolean): void {
    if (transport === this.transport) return;
    this.transport = transport;
    this.settings.log(fallen ? 'warn' : 'info', `transport ${transport}: ${why}`, {
      transport,
      app: this.settings.app,
    });
    this.events.onTransport(transport);
  }
}
