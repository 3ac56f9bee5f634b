/**
 * Names of the keys and channels that the registry uses in Redis (docs/registry.md). All keys of one service bear the
 * same hash tag, so that a cluster keeps them together and one script may touch them all.
 */

/** Keys of one service, in the order in which the scripts take them. */
export interface ServiceKeys {
  /** Hash: id of the instance -> epoch, a blank, the instance as JSON. */
  readonly instances: string;
  /** Sorted set: id -> when its lease ends, in milliseconds of Redis' clock. */
  readonly leases: string;
  /** Hash: `v` version, `t` last contact, `w` term of the watcher that spoke last. */
  readonly meta: string;
  /** Sorted set: id -> when it was deregistered; kept for a while. */
  readonly left: string;
  /** Sorted set: id -> until when the watcher has it taken out. */
  readonly offline: string;
  /** Channel on which each change is told. */
  readonly changes: string;
}

/** The keys of a service; its name is encoded so that no name can change the hash tag. */
export function keysOf(prefix: string, service: string): ServiceKeys {
  const base = `${prefix}:{${encodeURIComponent(service)}}:`;
  return {
    instances: `${base}instances`,
    leases: `${base}leases`,
    meta: `${base}meta`,
    left: `${base}left`,
    offline: `${base}offline`,
    changes: `${base}changes`,
  };
}

/** Sorted set: service -> when an instance of it was registered last, in milliseconds. */
export function servicesKey(prefix: string): string {
  return `${prefix}:services`;
}

/** String with an expiry: which watcher is active. */
export function watcherKey(prefix: string): string {
  return `${prefix}:watcher`;
}
