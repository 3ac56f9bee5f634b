/**
 * What a changed configuration means for a running agent: which fields differ, which of those it can follow at
 * once and which need a new process. Called after watch-config.ts has delivered a new configuration.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AgentConfig } from './resolve-config.js';
import { configSchema } from './schema.js';
import { allFields, valueAt } from './schema-walk.js';

/** Paths of fields, such as `inbound.port`, in the schema's order. */
export interface ConfigDifference {
  /** Fields that the agent follows at once. */
  live: string[];
  /** Fields that take effect in a new process only. */
  restart: string[];
}

/** What is in force in a process that was started with `before` and is given `after`: what needs a new process stays as it was. */
export function followed(before: AgentConfig, after: AgentConfig): AgentConfig {
  const { log, timeouts, balancer, publish, filters } = after;
  const { defaultMs, maxMs, drainMs } = timeouts;
  return {
    ...before,
    ...{ log, balancer, publish, filters },
    timeouts: { ...before.timeouts, defaultMs, maxMs, drainMs },
  };
}

/** Compares two configurations. */
export function diffConfig(before: AgentConfig, after: AgentConfig): ConfigDifference {
  const difference: ConfigDifference = { live: [], restart: [] };
  for (const { path, facts } of allFields(configSchema)) {
    if (isDeepStrictEqual(valueAt(before, path), valueAt(after, path))) continue;
    (facts.restart ? difference.restart : difference.live).push(path.join('.'));
  }
  return difference;
}
