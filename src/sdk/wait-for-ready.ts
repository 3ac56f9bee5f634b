// Calls that wait instead of failing fast (`waitForReady`): while no link is there, and while what is tried is refused as UNAVAILABLE with the
// proof that it has not run. Used by the client. What must stay true: whoever waits is told at its deadline at the latest, as not run;
// those that wait are bounded in number, and no service gets all places.
import { MeshError, errorText } from '../base/errors.js';
import { backoffMs } from '../policy/backoff.js';
import type { Link } from './link.js';
import type { LinkSource } from './link-source.js';
import { asRefusal, clientClosed, refused } from './refusal.js';

/** A call that was refused comes back soon; the agent lets it wait by itself unless it is of an older build. */
const pauses = { baseMs: 50, maxMs: 1_000 };
/** A service may wait in so many times the places that are free, as in the agent's tables. */
const shareOfFree = 4;

/** See the file's head. */
export class WaitForReady {
  readonly #waiting = new Map<string, number>();
  #count = 0;
  readonly #wakes = new Set<() => void>();
  #closed = false;

  /** @param capacity calls that may wait at once (`maxPendingCalls`) */
  constructor(
    readonly source: LinkSource,
    readonly capacity: number,
  ) {}

  /**
   * Tries until an attempt is not refused as not ready.
   *
   * @param deadlineMs on the clock of performance.now()
   * @param attempt makes one attempt on a link, after the caller has seen that `nowMs` is before the deadline
   */
  async run<T>(
    service: string,
    deadlineMs: number,
    signal: AbortSignal | undefined,
    attempt: (link: Link, nowMs: number) => Promise<T>,
  ): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      let why: string;
      try {
        const link = this.source.pick(service);
        if (link instanceof MeshError) throw link;
        return await attempt(link, performance.now());
      } catch (error) {
        if (!isNotReady(error)) throw asRefusal(error);
        why = error.message;
      }
      await this.#pause(service, backoffMs(failures, pauses, Math.random), deadlineMs, signal, why);
    }
  }

  /** There may be a link now. */
  linkChanged(): void {
    for (const wake of [...this.#wakes]) wake();
  }

  /** Those that wait fail, as those that come. */
  close(): void {
    this.#closed = true;
    this.linkChanged();
  }

  async #pause(
    service: string,
    pauseMs: number,
    deadlineMs: number,
    signal: AbortSignal | undefined,
    why: string,
  ): Promise<void> {
    const own = this.#waiting.get(service) ?? 0;
    if (own > shareOfFree * (this.capacity - this.#count - 1)) {
      const text = `too many calls wait for a link or an instance: ${this.#count} (maxPendingCalls): ${why}`;
      throw refused('RESOURCE_EXHAUSTED', text);
    }
    this.#take(service, 1);
    try {
      await this.#sleep(Math.min(pauseMs, deadlineMs - performance.now()), signal);
    } finally {
      this.#take(service, -1);
    }
    if (signal?.aborted) throw refused('CANCELLED', `cancelled: ${errorText(signal.reason)}`);
    if (this.#closed) throw clientClosed();
    // A timer may fire within the millisecond before.
    if (performance.now() < deadlineMs - 1) return;
    throw refused('DEADLINE_EXCEEDED', `the deadline passed while the call waited for ${service}: ${why}`);
  }

  #take(service: string, places: 1 | -1): void {
    this.#count += places;
    const own = (this.#waiting.get(service) ?? 0) + places;
    if (own === 0) this.#waiting.delete(service);
    else this.#waiting.set(service, own);
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed || signal?.aborted || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#wakes.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}

function isNotReady(error: unknown): error is MeshError {
  return error instanceof MeshError && error.status === 'UNAVAILABLE' && !error.mayHaveRun;
}
