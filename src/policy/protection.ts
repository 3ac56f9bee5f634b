/**
 * Protects the list of a service's instances from a registry that lost its memory. Instances that left by themselves
 * are gone at once; those that merely vanished (their leases ended, the registry was flushed or failed over to an
 * older copy) are gone at once too as long as they are few. When more than a set share vanished within the time that
 * is remembered, the fault is more likely the registry's, and each of them serves on until it returns or that time ends. The same holds
 * for each that vanishes while the registry cannot be reached, or soon after: its owner could not renew the lease.
 * Called by the Redis registry for each service; the caller brings the time.
 */

/** What the configuration says about it. */
export interface ProtectionBounds {
  /** Vanished instances serve on if they are more than this share of all, 0 to 1; 1 turns the protection off. */
  readonly share: number;
  /** How long an instance that vanished is remembered, in milliseconds. */
  readonly holdMs: number;
}

/** Whether so many vanished ones are a fault of the registry rather than of the instances. */
export function isImplausible(listed: number, vanished: number, share: number): boolean {
  return vanished > share * (listed + vanished);
}

interface Vanished<T> {
  readonly item: T;
  readonly untilMs: number;
  readonly doubtful: boolean;
}

/** What a list under protection knows, for another process to go on with. */
export interface ProtectedState<T> {
  readonly listed: readonly T[];
  /** Those that vanished, each with how long it is remembered yet. */
  readonly vanished: readonly { readonly item: T; readonly leftMs: number; readonly doubtful: boolean }[];
  readonly protecting: boolean;
}

/** One service's list under protection. */
export class ProtectedList<T> {
  #listed: ReadonlyMap<string, T> = new Map();
  readonly #vanished = new Map<string, Vanished<T>>();
  #protecting = false;

  constructor(private readonly bounds: ProtectionBounds) {}

  /** Instances that serve on although the registry does not list them. */
  get held(): number {
    return this.#heldItems().length;
  }

  export(nowMs: number): ProtectedState<T> {
    const vanished = [...this.#vanished.values()].map(({ item, untilMs, doubtful }) => {
      return { item, leftMs: Math.max(0, untilMs - nowMs), doubtful };
    });
    return { listed: [...this.#listed.values()], vanished, protecting: this.#protecting };
  }

  /** Goes on where another process was, in the place of what was known here. */
  adopt({ listed, vanished, protecting }: ProtectedState<T>, idOf: (item: T) => string, nowMs: number): void {
    this.#listed = new Map(listed.map((item) => [idOf(item), item]));
    this.#vanished.clear();
    for (const { item, leftMs, doubtful } of vanished) {
      this.#vanished.set(idOf(item), { item, untilMs: nowMs + leftMs, doubtful });
    }
    this.#protecting = protecting;
  }

  /**
   * Takes in what the registry lists now.
   * @param departed says of an id whether it left by itself
   * @param nowMs on a monotonic clock
   * @param doubtful whether the owners of those that vanished now may have had no chance to renew their leases
   */
  update(
    listed: ReadonlyMap<string, T>,
    departed: (id: string) => boolean,
    nowMs: number,
    doubtful = false,
  ): void {
    for (const [id, item] of this.#listed) {
      if (!listed.has(id)) this.#vanished.set(id, { item, untilMs: nowMs + this.bounds.holdMs, doubtful });
    }
    this.#listed = listed;
    for (const id of [...this.#vanished.keys()]) {
      if (listed.has(id) || departed(id)) this.#vanished.delete(id);
    }
    this.expire(nowMs);
  }

  /** Forgets those that have been gone for long enough. @returns whether the list that serves changed */
  expire(nowMs: number): boolean {
    const before = this.held;
    for (const [id, { untilMs }] of this.#vanished) if (untilMs <= nowMs) this.#vanished.delete(id);
    // Once begun it lasts for all: owners return one by one, and the last of them must not be dropped on the way.
    this.#protecting =
      this.#vanished.size > 0 &&
      (this.#protecting || isImplausible(this.#listed.size, this.#vanished.size, this.bounds.share));
    return this.held !== before;
  }

  /** What serves: everything listed, and what is held. */
  *serving(): Generator<T> {
    yield* this.#listed.values();
    yield* this.#heldItems();
  }

  #heldItems(): T[] {
    return [...this.#vanished.values()]
      .filter(({ doubtful }) => this.#protecting || doubtful)
      .map(({ item }) => item);
  }
}
