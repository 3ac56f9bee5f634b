// The programs in other languages that the configuration names under `publish`: each is asked again and again whether it is there, and
// is published through the agent as long as it is. What must stay true: nothing is published that has not answered, and what is no
// longer named is taken out without losing a request.
import { isDeepStrictEqual } from 'node:util';
import { errorText } from '../base/errors.js';
import { TurnQueue } from '../base/turn-queue.js';
import { hostAndPort } from '../config/publish-schema.js';
import type { Program } from '../config/resolve-config.js';
import type { ProgramView } from '../observe/agent-view.js';
import type { Logger } from '../observe/logger.js';
import { ProbeRecord } from '../policy/liveness.js';
import { Probe } from '../probe/probe.js';
import type { Inbound } from './inbound.js';
import type { Offer, Server } from './publications.js';

/** What is looked at of the agent's log. */
type Log = Pick<Logger, 'info' | 'warn'>;

/** See the file's head. */
export class Programs {
  #checks: ProgramCheck[] = [];
  /** One change of the configuration after another. */
  readonly #changes = new TurnQueue();

  constructor(
    private readonly inbound: Inbound,
    private readonly log: Log,
  ) {}

  /** Follows the configuration from now on; resolves when what it no longer names gets no requests any more. */
  apply(wanted: readonly Program[]): Promise<void> {
    return this.#changes.run(async () => {
      const kept = this.#checks.filter(({ program }) =>
        wanted.some((one) => isDeepStrictEqual(one, program)),
      );
      await Promise.all(this.#checks.filter((check) => !kept.includes(check)).map((check) => check.stop()));
      const fresh = wanted
        .filter((one) => !kept.some(({ program }) => isDeepStrictEqual(one, program)))
        .map((program) => new ProgramCheck(program, this.inbound, this.log));
      this.#checks = [...kept, ...fresh];
      const unnamed = this.inbound
        .programs()
        .filter(
          ({ server, offer }) =>
            !wanted.some((one) => isDeepStrictEqual(serverOf(one), server) && sameName(one, offer)),
        );
      for (const check of fresh) check.start();
      await Promise.all(unnamed.map(({ server, offer }) => this.inbound.unpublish(server, offer)));
      for (const { offer } of unnamed) {
        const { service, group } = offer;
        this.log.info(
          { service, group },
          'a program is published no more: the configuration names it no longer',
        );
      }
    });
  }

  /** Ends the checks; what is published stays so. apply() begins anew. */
  async stop(): Promise<void> {
    await this.#changes.run(async () => {
      await Promise.all(this.#checks.splice(0).map((check) => check.stop()));
    });
  }

  view(): ProgramView[] {
    return this.#checks.map((check) => check.view());
  }
}

/** One program and what became of it. */
class ProgramCheck {
  readonly #server: Server;
  readonly #probe: Probe;
  readonly #record = new ProbeRecord();
  #problem: string | null = 'not asked yet';
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #ended = false;
  #down = false;

  constructor(
    readonly program: Program,
    private readonly inbound: Inbound,
    private readonly log: Log,
  ) {
    const { address, healthCheck } = program;
    this.#server = serverOf(program);
    this.#probe = new Probe(hostAndPort(address) ?? { path: address }, healthCheck.kind, 'ringside-agent');
  }

  start(): void {
    if (this.#ended) return;
    this.#round = this.#check()
      .catch((error: unknown) => {
        this.#problem = `it answers, but cannot be published: ${errorText(error)}`;
      })
      .finally(() => {
        if (this.#ended) return;
        this.#timer = setTimeout(() => this.start(), this.program.healthCheck.intervalMs);
        this.#timer.unref();
      });
  }

  /** Asks no more; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#probe.close();
    await this.#round;
  }

  view(): ProgramView {
    const { service, group, protocol, address, healthCheck } = this.program;
    const failing = this.#record.verdict(healthCheck) === 'down';
    const state = this.#published ? 'published' : failing ? 'failing' : 'checking';
    return { service, group, protocol, address, state, problem: this.#problem };
  }

  get #published(): Offer | undefined {
    return this.inbound.offered(this.#server, this.program);
  }

  async #check(): Promise<void> {
    const { program } = this;
    const problem = await this.#probe.ask(program.healthCheck.timeoutMs);
    if (this.#ended) return;
    this.#problem = problem ?? null;
    this.#record.add(problem === undefined);
    const fields = { service: program.service, group: program.group, address: program.address };
    switch (this.#record.verdict(program.healthCheck)) {
      case 'up': {
        this.#down = false;
        const published = this.#published;
        if (published !== undefined && sameTerms(published, program)) break;
        const instance = await this.inbound.publish(this.#server, offerOf(program));
        this.log.info({ ...fields, instance }, 'a program is published');
        break;
      }
      case 'down':
        if (!this.#down) {
          this.log.warn(
            { ...fields, problem },
            'a program does not answer; it is not published until it does',
          );
        }
        this.#down = true;
        this.inbound.withdraw(this.#server, program);
    }
  }
}

function serverOf({ address, protocol }: Program): Server {
  return { address, protocol };
}

function offerOf({ service, group, version, weight, zone }: Program): Offer {
  return { service, group, version, weight, zone };
}

function sameName(a: Pick<Offer, 'service' | 'group'>, b: Pick<Offer, 'service' | 'group'>): boolean {
  return a.service === b.service && a.group === b.group;
}

function sameTerms(offer: Offer, { version, weight, zone }: Program): boolean {
  return offer.version === version && offer.weight === weight && offer.zone === zone;
}
