/**
 * Opens the registry that the configuration names. The agent calls this and nothing else of this folder to get one,
 * so that a new kind of registry is one more case here.
 */
import type { Registry } from './registry.js';
import { openEmbeddedRegistry } from './embedded/embedded-registry.js';

/** The part of the configuration about the registry. */
export interface RegistryConfig {
  readonly type: 'embedded';
  readonly directory: string;
  /** Permission bits in octal, such as `0700`. */
  readonly mode: string;
  readonly leaseMs: number;
  readonly sweepMs: number;
}

/** The configured limits that a registry keeps. */
export interface RegistryLimits {
  readonly instances: number;
  readonly services: number;
}

/**
 * Opens a registry. Resolves even where it cannot be read yet: `problem` says so then, and it is tried again.
 * @param onProblem called with all that is wrong when that changes, and with null when all is well again
 */
export function openRegistry(
  config: RegistryConfig,
  limits: RegistryLimits,
  onProblem: (problem: string | null) => void,
): Promise<Registry> {
  return openEmbeddedRegistry({
    directory: config.directory,
    directoryMode: Number.parseInt(config.mode, 8),
    leaseMs: config.leaseMs,
    sweepMs: config.sweepMs,
    maxInstances: limits.instances,
    maxServices: limits.services,
    onProblem,
  });
}
