/**
 * The arithmetic of leases: when an instance counts as gone, when its file may be removed, when to renew. Deadlines
 * lie on the reader's monotonic clock, so that a jump of the wall clock, forward or back, expires nothing. Which other clock renewals are
 * stamped by, and so how old a lease was when it was first seen, the caller knows. Called by the registries.
 */
import { backoffMs } from './backoff.js';

/** A lease as a reader sees it; all times on the reader's monotonic clock, in milliseconds. */
export interface Lease {
  leaseMs: number;
  /** When it ends unless a renewal is seen before. */
  deadlineMs: number;
  /** When the reader looked at it last. */
  seenMs: number;
}

/** Both clocks at one moment. */
export interface Now {
  /** By the clock that renewals are stamped by. */
  wallMs: number;
  monotonicMs: number;
}

/** A lease seen for the first time; `renewedWallMs` is when its owner says it renewed it. */
export function firstSeen(renewedWallMs: number, leaseMs: number, now: Now): Lease {
  const ageMs = clamp(now.wallMs - renewedWallMs, 0, leaseMs);
  return { leaseMs, deadlineMs: now.monotonicMs + leaseMs - ageMs, seenMs: now.monotonicMs };
}

/** A known lease that was renewed since it was seen last, so that the renewal cannot be older than that. */
export function renewed(lease: Lease, renewedWallMs: number, now: Now): Lease {
  const ageMs = clamp(now.wallMs - renewedWallMs, 0, Math.max(0, now.monotonicMs - lease.seenMs));
  const deadlineMs = Math.max(lease.deadlineMs, now.monotonicMs + lease.leaseMs - ageMs);
  return { ...lease, deadlineMs, seenMs: now.monotonicMs };
}

/**
 * A lease whose reader comes back after not looking for a while (it was suspended, or could not read): whoever was
 * suspended with it gets as long for a renewal as at any other time before anybody is declared gone. Less would not do: the
 * next try of an owner that could not write is up to a third of a lease away.
 */
export function afterPause(lease: Lease, now: Now): Lease {
  return { ...lease, deadlineMs: Math.max(lease.deadlineMs, now.monotonicMs + lease.leaseMs) };
}

/** Whether a reader that looks every `sweepMs` and looked last at `lookedMs` was away longer than it should be. */
export function wasAway(lookedMs: number, sweepMs: number, leaseMs: number, now: Now): boolean {
  return now.monotonicMs - lookedMs > sweepMs + leaseMs / 3;
}

/** Whether the instance still counts. */
export function isLive(lease: Lease, now: Now): boolean {
  return now.monotonicMs < lease.deadlineMs;
}

/** Whether its file may be removed: a whole lease later, so that an owner that was only slow is not disturbed. */
export function isRemovable(lease: Lease, now: Now): boolean {
  return now.monotonicMs >= lease.deadlineMs + lease.leaseMs;
}

/**
 * How long until a lease is renewed again, in milliseconds.
 *
 * @param failures renewals in a row that failed
 */
export function nextRenewalMs(leaseMs: number, failures: number, random: () => number): number {
  if (failures === 0) return renewAfterMs(leaseMs, random);
  return backoffMs(failures, { baseMs: leaseMs / 30, maxMs: leaseMs / 3 }, random);
}

/** How long until the next renewal after one that went well: up to a third of the lease, less a little at random so that owners spread out. */
export function renewAfterMs(leaseMs: number, random: () => number): number {
  return (leaseMs / 3) * (0.8 + 0.2 * random());
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
