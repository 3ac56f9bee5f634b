/**
 * Opens the registry that the configuration names. The agent calls this and nothing else of this folder to get one,
 * so that a new kind of registry is one more case here.
 */
import { readFileSync } from 'node:fs';
import { errorText, MeshError } from '../base/errors.js';
import { parseRedisUrl } from '../base/redis-url.js';
import type { RedisAddress } from '../base/redis-url.js';
import type { Registry } from './registry.js';
import { openEmbeddedRegistry } from './embedded/embedded-registry.js';
import { openRedisRegistry } from './redis/redis-registry.js';

/** The part of the configuration about the registry. */
export interface RegistryConfig {
  readonly type: 'embedded' | 'redis';
  readonly leaseMs: number;
  readonly sweepMs: number;
  readonly directory: string;
  /** Permission bits in octal, such as `0700`. */
  readonly mode: string;
  readonly url: string | null;
  readonly password: string | null;
  readonly sentinelPassword: string | null;
  readonly caFile: string | null;
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly cacheFile: string | null;
  readonly protectShare: number;
  readonly protectMs: number;
}

/** The configured limits that a registry keeps. */
export interface RegistryLimits {
  readonly instances: number;
  readonly services: number;
}

/** How Redis is reached, as the configuration says it. */
export type RedisAccess = Pick<RegistryConfig, 'url' | 'password' | 'sentinelPassword' | 'caFile'>;

/**
 * Opens a registry. Resolves even where it cannot be read yet: `problem` says so then, and it is tried again.
 * @param onProblem called with all that is wrong when that changes, and with null when all is well again
 * @throws {MeshError} if `caFile` cannot be read
 */
export async function openRegistry(
  config: RegistryConfig,
  limits: RegistryLimits,
  onProblem: (problem: string | null) => void,
): Promise<Registry> {
  const { leaseMs, sweepMs } = config;
  const shared = {
    leaseMs,
    sweepMs,
    maxInstances: limits.instances,
    maxServices: limits.services,
    onProblem,
  };
  if (config.type === 'redis') {
    const { prefix, timeoutMs, cacheFile, protectShare, protectMs } = config;
    return openRedisRegistry({
      ...shared,
      ...redisAccess(config),
      ...{ prefix, timeoutMs, cacheFile, protection: { share: protectShare, holdMs: protectMs } },
    });
  }
  return openEmbeddedRegistry({
    ...shared,
    directory: config.directory,
    directoryMode: Number.parseInt(config.mode, 8),
  });
}

/**
 * The address and secrets for a connection.
 * @throws {MeshError} if the URL cannot be used or `caFile` cannot be read
 */
export function redisAccess({ url, password, sentinelPassword, caFile }: RedisAccess): {
  address: RedisAddress;
  ca: string | undefined;
  sentinelPassword: string | undefined;
} {
  const parsed = parseRedisUrl(url ?? '');
  if ('wrong' in parsed) throw new MeshError('INVALID_ARGUMENT', `the URL of Redis ${parsed.wrong}`);
  const address = { ...parsed, ...(password === null ? {} : { password }) };
  return {
    address,
    ca: caFile === null ? undefined : readCa(caFile),
    sentinelPassword: sentinelPassword ?? undefined,
  };
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new MeshError('FAILED_PRECONDITION', `registry.caFile cannot be read: ${errorText(error)}`, {
      mayHaveRun: false,
    });
  }
}
