// Shares out the requests that a server runs at once among its callers, so that one whose requests are slow leaves room for others. Through an
// agent a caller is an application, by the name that its requests bear; in direct mode it is a link. While little runs, nobody is counted.
import { mayTake } from '../policy/fair-share.js';
import type { InboundCall } from './inbound-call.js';

/** Up to this part of the bound nobody is counted. */
const unsharedPart = 8;

/** See the file's head. */
export class CallerShares {
  readonly #running = new Map<unknown, number>();

  /** @param byLink whether each link is a caller of its own */
  constructor(
    readonly bound: number,
    readonly byLink: boolean,
  ) {}

  /** Counts a call beside `running` others. False: its caller has as many as it may have. */
  admit(call: InboundCall, running: number): boolean {
    if (running <= this.bound / unsharedPart) return true;
    const caller = this.byLink ? call.link : call.sourceApp;
    const own = this.#running.get(caller) ?? 0;
    if (!mayTake(own, 1, this.bound - running, this.bound)) return false;
    this.#running.set(caller, own + 1);
    call.countedFor = caller;
    return true;
  }

  /** An admitted call has ended. */
  end(call: InboundCall): void {
    if (call.countedFor === undefined) return;
    const own = this.#running.get(call.countedFor) ?? 0;
    if (own <= 1) this.#running.delete(call.countedFor);
    else this.#running.set(call.countedFor, own - 1);
    call.countedFor = undefined;
  }
}
