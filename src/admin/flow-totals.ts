/**
 * Turns the counters of flows, which begin again when a flow is evicted and installed anew, into totals per direction
 * and service that only grow, as Prometheus wants them. Fed by metrics.ts at each scrape; what an evicted flow counted
 * after the last scrape is lost to the totals. Bounded: services beyond a limit share one name, and so do those that nobody was ever seen to
 * serve, whose names callers may have invented.
 */
import { valueOfBucket } from '../observe/sketch.js';
import type { Direction, FlowView } from '../observe/agent-view.js';

/** Upper bounds of the histogram's buckets, in microseconds; +Inf is the count. */
export const BOUNDS_US = [
  50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
  2_500_000, 5_000_000, 10_000_000,
] as const;

/** Service name that stands for all beyond the limit. */
export const OTHER_SERVICES = '(other)';

/** Service name that stands for all that nobody was ever seen to serve. */
export const UNKNOWN_SERVICES = '(unknown)';

/** What was counted for one direction and service since the agent started. */
export interface ServiceTotals {
  direction: Direction;
  service: string;
  /** By status code. */
  byStatus: number[];
  latencySumUs: number;
  latencyCount: number;
  /** Latencies up to each of BOUNDS_US. */
  atMost: number[];
}

type Counted = Pick<ServiceTotals, 'byStatus' | 'latencySumUs' | 'latencyCount' | 'atMost'> & {
  requests: number;
};

/** See the file's head. */
export class FlowTotals {
  readonly #totals = new Map<string, ServiceTotals>();
  #last = new Map<string, Counted>();

  /** @param maxServices directions and services told apart, at most */
  constructor(private readonly maxServices = 1_024) {}

  /**
   * Adds what the flows counted since the last call.
   * @param served services with endpoints now, each as `direction service`; those that have answered need not be named
   */
  add(flows: readonly FlowView[], served: ReadonlySet<string>): void {
    const seen = new Map<string, Counted>();
    for (const flow of flows) {
      const { direction, service, method, group, cluster } = flow;
      const key = JSON.stringify([direction, service, method, group, cluster]);
      const counted = countedOf(flow);
      const before = this.#last.get(key);
      this.#grow(
        this.#totalsOf(direction, this.#nameOf(flow, served)),
        counted,
        before && before.requests <= counted.requests ? before : ZERO,
      );
      seen.set(key, counted);
    }
    this.#last = seen;
  }

  /** The totals of all services seen so far. */
  all(): readonly ServiceTotals[] {
    return [...this.#totals.values()];
  }

  /** A service keeps its own name once it has one. */
  #nameOf({ direction, service, byStatus }: FlowView, served: ReadonlySet<string>): string {
    const key = `${direction} ${service}`;
    const known = this.#totals.has(key) || served.has(key) || (byStatus[0] ?? 0) > 0;
    return known ? service : UNKNOWN_SERVICES;
  }

  #totalsOf(direction: Direction, service: string): ServiceTotals {
    const shown =
      this.#totals.size < this.maxServices || this.#totals.has(`${direction} ${service}`)
        ? service
        : OTHER_SERVICES;
    const key = `${direction} ${shown}`;
    let totals = this.#totals.get(key);
    if (!totals) {
      totals = { direction, service: shown, ...emptyCounts() };
      this.#totals.set(key, totals);
    }
    return totals;
  }

  #grow(totals: ServiceTotals, now: Counted, before: Counted): void {
    now.byStatus.forEach((count, code) => {
      totals.byStatus[code] = (totals.byStatus[code] ?? 0) + growth(count, before.byStatus[code]);
    });
    now.atMost.forEach((count, i) => {
      totals.atMost[i] = (totals.atMost[i] ?? 0) + growth(count, before.atMost[i]);
    });
    totals.latencySumUs += growth(now.latencySumUs, before.latencySumUs);
    totals.latencyCount += growth(now.latencyCount, before.latencyCount);
  }
}

function emptyCounts(): Omit<Counted, 'requests'> {
  return {
    byStatus: Array.from({ length: 17 }, () => 0),
    latencySumUs: 0,
    latencyCount: 0,
    atMost: BOUNDS_US.map(() => 0),
  };
}

const ZERO: Counted = { requests: 0, ...emptyCounts() };

function countedOf({ requests, byStatus, latency, sketch }: FlowView): Counted {
  const counted: Counted = { requests, ...emptyCounts() };
  byStatus.slice(0, 17).forEach((count, code) => (counted.byStatus[code] = count));
  counted.latencySumUs = latency.sumUs;
  for (const [index, count] of sketch) {
    counted.latencyCount += count;
    const valueUs = valueOfBucket(index);
    BOUNDS_US.forEach((boundUs, i) => {
      if (valueUs <= boundUs) counted.atMost[i] = (counted.atMost[i] ?? 0) + count;
    });
  }
  return counted;
}

function growth(now: number, before = 0): number {
  return Math.max(0, now - before);
}
