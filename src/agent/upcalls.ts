// Answers the engine's upcalls: a request it has no flow for, one that a user's filter looks at, one for the agent itself. Each upcall gets
// exactly one verdict; for a miss that is a flow, so that the next request of its kind does not come here.
import { errorText } from '../base/errors.js';
import { Status } from '../base/status.js';
import type { Verdict } from '../native/engine-commands.js';
import type { EngineNotice } from '../native/engine.js';
import type { Engine } from '../native/engine.js';
import { decodeHeader } from '../protocol/header.js';
import type { Header } from '../protocol/header.js';
import { statusHeader } from './control.js';
import type { Control } from './control.js';
import type { Filters } from './filters.js';
import type { Inbound } from './inbound.js';
import type { LegacyDirectory } from './legacy-directory.js';
import type { Outbound } from './outbound.js';

type Upcall = Extract<EngineNotice, { type: 'upcall' }>;

/** The agent's own service; other control requests are those that every agent answers to old callers. */
const controlService = 'ringside.agent';
const lookUp: Verdict = { kind: 'lookup' };

/** See the file's head. */
export class Upcalls {
  constructor(
    private readonly engine: Engine,
    private readonly outbound: Outbound,
    private readonly inbound: Inbound,
    private readonly control: Control,
    private readonly legacyDirectory: LegacyDirectory,
    private readonly filters: () => Filters,
  ) {}

  handle(upcall: Upcall): void {
    try {
      const verdict = this.#decide(upcall);
      if (verdict instanceof Promise) {
        verdict.then(
          (settled) => this.#resolve(upcall, settled),
          (error: unknown) => this.#resolve(upcall, failed(upcall, error)),
        );
      } else {
        this.#resolve(upcall, verdict);
      }
    } catch (error) {
      this.#resolve(upcall, failed(upcall, error));
    }
  }

  #resolve(upcall: Upcall, verdict: Verdict): void {
    try {
      this.engine.commands.resolve(upcall.token, verdict);
    } catch (error) {
      // A verdict that cannot be written must not leave its request without one, nor end the agent.
      this.engine.commands.resolve(upcall.token, failed(upcall, error));
    }
  }

  #decide(upcall: Upcall): Verdict | Promise<Verdict> {
    const header = decodeHeader(upcall.header);
    switch (upcall.kind) {
      case 'control':
        return header.service === controlService
          ? this.control.answer(upcall.link, header.method, upcall.body)
          : this.legacyDirectory.answer(header, upcall.body, upcall);
      case 'filter':
        return this.#filter(upcall, header);
      case 'miss':
        return this.#clusterOf(upcall, header) === undefined ? refusal(upcall, header.service) : lookUp;
    }
  }

  async #filter(upcall: Upcall, header: Header): Promise<Verdict> {
    const { direction, timeoutMs, oneWay } = upcall;
    const outcome = await this.filters().run(direction, header, upcall.header, { timeoutMs, oneWay });
    if (outcome.kind === 'reject') return outcome;
    const cluster = this.#clusterOf(upcall, outcome);
    if (cluster === undefined) return refusal(upcall, outcome.service);
    return { kind: 'forward', cluster, header: outcome.header };
  }

  #clusterOf(upcall: Upcall, to: Pick<Header, 'service' | 'group' | 'version'>): number | undefined {
    const side = upcall.direction === 'outbound' ? this.outbound : this.inbound;
    return side.clusterOf(to.service, { group: to.group, version: to.version });
  }
}

function refusal({ direction }: Upcall, service: string): Verdict {
  if (direction === 'inbound') {
    return {
      kind: 'reject',
      code: Status.UNAVAILABLE,
      text: `no application beside this agent serves ${service}`,
    };
  }
  return {
    kind: 'reject',
    code: Status.RESOURCE_EXHAUSTED,
    text: `too many services are in use, or too many groups of ${service} (limits.services)`,
  };
}

function failed({ kind }: Upcall, error: unknown): Verdict {
  const text = errorText(error);
  // A rejection is the proof that a request has not run, which is true only of one that was to be sent on.
  if (kind === 'control') {
    const header = statusHeader(`the agent could not answer: ${text}`);
    return { kind: 'answer', code: Status.INTERNAL, header };
  }
  return { kind: 'reject', code: Status.INTERNAL, text: `the agent could not decide: ${text}` };
}
