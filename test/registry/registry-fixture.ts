/** What the registry's tests share: a directory of their own, instances, registries that are closed at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.js';
import type {
  EmbeddedRegistry,
  EmbeddedRegistryOptions,
} from '../../src/registry/embedded/embedded-registry.js';
import type { Instance } from '../../src/registry/instance.js';

export const LEASE_MS = 3_000;
export const SWEEP_MS = 500;

export function instanceOf(change: Partial<Instance> = {}): Instance {
  return {
    id: 'a-1',
    service: 'orders',
    group: '',
    version: '1.0',
    host: '10.0.0.1',
    port: 15_101,
    weight: 100,
    zone: '',
    protocols: ['mesh/1'],
    metadata: {},
    app: 'shop',
    epoch: 1,
    ...change,
  };
}

export interface Fixture {
  /** The registry's directory; does not exist at first. */
  directory: string;
  /** Opens a registry there; `problems` gets everything it reports. */
  open(
    options?: Partial<EmbeddedRegistryOptions>,
  ): Promise<EmbeddedRegistry & { problems: (string | null)[] }>;
}

export function useRegistryDirectory(): Fixture {
  let parent: string;
  let opened: EmbeddedRegistry[];
  const fixture: Fixture = {
    directory: '',
    async open(options = {}) {
      const problems: (string | null)[] = [];
      const registry = await openEmbeddedRegistry({
        directory: fixture.directory,
        leaseMs: LEASE_MS,
        sweepMs: SWEEP_MS,
        maxInstances: 1_000,
        maxServices: 100,
        onProblem: (problem) => problems.push(problem),
        ...options,
      });
      opened.push(registry);
      return Object.assign(registry, { problems });
    },
  };
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'ringside-registry-'));
    fixture.directory = join(parent, 'registry');
    opened = [];
  });
  afterEach(async () => {
    await Promise.all(opened.map((registry) => registry.close()));
    rmSync(parent, { recursive: true, force: true });
  });
  return fixture;
}

/** A watcher that remembers every list as `id@version` texts. */
export function recorder(): {
  lists: string[][];
  listener: (instances: readonly Instance[]) => void;
  last(): string[];
} {
  const lists: string[][] = [];
  return {
    lists,
    listener: (instances) => void lists.push(instances.map(({ id, version }) => `${id}@${version}`)),
    last: () => lists.at(-1) ?? ['(never told)'],
  };
}

/** Waits for what an event or a timer brings about, also on a machine that is busy. */
export const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000 });
