/**
 * Decides from the results of probes which instances are taken out of the online list: an instance goes after so many
 * failures in a row and returns after so many successes. Never is more than a set share taken out at once, neither of one
 * service nor of all: when everything fails the fault is more likely the watcher's own. Called by the watcher each round.
 */

/** What the command line says about it. */
export interface LivenessBounds {
  /** Failures in a row after which an instance is taken out, at least 1. */
  readonly failures: number;
  /** Successes in a row after which it is put back, at least 1. */
  readonly successes: number;
  /** Share of a service's instances, and of all, that may be out at once, 0 to below 1. */
  readonly maxShare: number;
}

/** Results in a row for one target. */
export class ProbeRecord {
  #failures = 0;
  #successes = 0;

  add(alive: boolean): void {
    this.#failures = alive ? 0 : this.#failures + 1;
    this.#successes = alive ? this.#successes + 1 : 0;
  }

  /** `down` or `up` once enough results in a row say so; `unsure` before that. */
  verdict({ failures, successes }: Pick<LivenessBounds, 'failures' | 'successes'>): 'up' | 'down' | 'unsure' {
    if (this.#failures >= failures) return 'down';
    return this.#successes >= successes ? 'up' : 'unsure';
  }
}

/** One instance in a round. */
export interface Judged {
  readonly id: string;
  readonly service: string;
  readonly verdict: 'up' | 'down' | 'unsure';
  /** Whether it is taken out now. */
  readonly offline: boolean;
}

/** What is to be done. */
export interface LivenessDecision {
  /** Taken out now, or still: these marks are renewed. */
  readonly out: readonly Judged[];
  readonly back: readonly Judged[];
  /** Those that fail and stay in because too many are out already. */
  readonly spared: readonly Judged[];
}

/** Decides about one round; those that are out already keep their place before others. */
export function decideLiveness(instances: readonly Judged[], { maxShare }: LivenessBounds): LivenessDecision {
  const sizes = new Map<string, number>();
  for (const { service } of instances) sizes.set(service, (sizes.get(service) ?? 0) + 1);
  const outOf = new Map<string, number>();
  const maxOut = Math.floor(instances.length * maxShare);
  const decision = { out: [] as Judged[], back: [] as Judged[], spared: [] as Judged[] };
  const take = (one: Judged): void => {
    const already = outOf.get(one.service) ?? 0;
    const fits =
      already < Math.floor((sizes.get(one.service) ?? 0) * maxShare) && decision.out.length < maxOut;
    if (fits) {
      outOf.set(one.service, already + 1);
      decision.out.push(one);
    } else {
      decision.spared.push(one);
      if (one.offline) decision.back.push(one);
    }
  };
  for (const one of instances) if (one.offline && one.verdict !== 'up') take(one);
  for (const one of instances) {
    if (!one.offline && one.verdict === 'down') take(one);
    else if (one.offline && one.verdict === 'up') decision.back.push(one);
  }
  return decision;
}
