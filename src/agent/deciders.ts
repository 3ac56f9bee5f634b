// What decides in a running agent: the services of both directions, the programs it publishes, control requests, and the answers to the
// engine's questions that rest on them. Made in one go by agent.ts, at a start as at a takeover, once the registry is open and it is known where other
// agents reach this one.
import type { Logger } from 'pino';
import type { AgentConfig } from '../config/resolve-config.js';
import type { Engine } from '../native/engine.js';
import type { Registry } from '../registry/registry.js';
import { Control } from './control.js';
import type { Filters } from './filters.js';
import { Inbound } from './inbound.js';
import type { Advertised } from './inbound.js';
import { LegacyDirectory } from './legacy-directory.js';
import { Outbound } from './outbound.js';
import { Programs } from './programs.js';
import type { ServiceRoutes } from './service-routes.js';
import { Upcalls } from './upcalls.js';

/** See the file's head. */
export interface Deciders {
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  readonly programs: Programs;
  readonly control: Control;
  readonly legacyDirectory: LegacyDirectory;
  readonly upcalls: Upcalls;
}

/** What they work with. */
export interface Surroundings {
  readonly config: AgentConfig;
  readonly engine: Engine;
  readonly registry: Registry;
  readonly outboundRoutes: ServiceRoutes;
  readonly inboundRoutes: ServiceRoutes;
  readonly advertised: Advertised;
  /** Those in force; they change while the agent runs. */
  readonly filters: () => Filters;
  readonly log: Logger;
  readonly onTrouble: (message: string, error: unknown) => void;
}

/** Makes them; they hold nothing yet. */
export function makeDeciders(around: Surroundings): Deciders {
  const { config, engine, registry, log, onTrouble } = around;
  const { limits, egressFallback } = config;
  const outbound = new Outbound(around.outboundRoutes, registry, limits.services);
  const inbound = new Inbound(
    engine,
    around.inboundRoutes,
    registry,
    config.app,
    around.advertised,
    limits.publications,
    onTrouble,
  );
  const programs = new Programs(inbound, log);
  const control = new Control(inbound, !egressFallback.enabled || egressFallback.force);
  const legacyDirectory = new LegacyDirectory(
    registry,
    limits.publications,
    { ...config.legacy, advertisedHost: around.advertised.host },
    onTrouble,
  );
  const upcalls = new Upcalls(engine, outbound, inbound, control, legacyDirectory, around.filters);
  return { outbound, inbound, programs, control, legacyDirectory, upcalls };
}
