/**
 * Whether a watcher may act: it holds a lease in the registry and must stop well before others may take it over, by its own
 * monotonic clock, counted from before it asked. Called by the watcher before each round of decisions.
 */

/** A lease that was granted. */
export interface HeldLease {
  /** Grows with each election; whoever acts names it, so that a latecomer can be refused. */
  readonly term: number;
  /** When it was asked for, on the holder's monotonic clock. */
  readonly askedMs: number;
  readonly leaseMs: number;
}

/** Whether the holder may act at a moment: for the first three quarters of its lease. */
export function mayAct(lease: HeldLease | null, nowMs: number): lease is HeldLease {
  return lease !== null && nowMs - lease.askedMs < 0.75 * lease.leaseMs;
}
