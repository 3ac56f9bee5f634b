/**
 * Which of a service's registered instances become endpoints of a cluster, and with which weights. Called by the
 * agent each time the registry reports a list or a route names another group or version. The order of the result
 * depends on ids only, so that every agent sees the same order.
 */

/** What is read of a registered instance. */
export interface Candidate {
  readonly id: string;
  readonly group: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly protocols: readonly string[];
}

/** An endpoint as the engine's snapshot wants it. */
export interface Endpoint {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** At least 1. */
  readonly weight: number;
  /** The one to speak to it. */
  readonly protocol: string;
}

/** What a request wants of the instances that may serve it. */
export interface Wanted {
  /** '', '*' or undefined: any group. */
  readonly group?: string | undefined;
  /** '', '*' or undefined: any version. */
  readonly version?: string | undefined;
  /** Protocols we speak, the newest first: an endpoint is spoken to in the first that it knows, too. */
  readonly protocols: readonly string[];
}

/** Whether a wanted group or version takes in an instance's own. */
export function takesIn(wanted: string | undefined, own: string): boolean {
  return wanted === undefined || wanted === '' || wanted === '*' || wanted === own;
}

/** Orders by id, the same in every locale. */
export function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** The endpoints for a request, sorted by id; an instance of weight 0 takes no traffic. */
export function endpointsOf(instances: readonly Candidate[], wanted: Wanted): Endpoint[] {
  return instances
    .filter(
      ({ group, version, weight }) =>
        weight > 0 && takesIn(wanted.group, group) && takesIn(wanted.version, version),
    )
    .flatMap(({ id, host, port, weight, protocols }) => {
      const protocol = wanted.protocols.find((ours) => protocols.includes(ours));
      return protocol === undefined ? [] : [{ id, host, port, weight, protocol }];
    })
    .sort(byId);
}
