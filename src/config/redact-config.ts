/**
 * A configuration that may be shown: the admin server and the log use it. Which fields are secret is said in the
 * schema, so that a new secret cannot be forgotten here.
 */
import { configSchema } from './schema.js';
import { allFields } from './schema-walk.js';

/** What stands in a secret's place. */
export const REDACTED = '(redacted)';

/** A copy of the configuration in which secrets that are set are replaced. */
export function redactConfig<T extends object>(config: T): T {
  const copy = structuredClone(config);
  for (const { path, facts } of allFields(configSchema)) {
    if (!facts.secret) continue;
    let section = copy as Record<string, unknown>;
    for (const key of path.slice(0, -1)) section = (section[key] ?? {}) as Record<string, unknown>;
    const last = path.at(-1) ?? '';
    if (section[last] !== null && section[last] !== undefined) section[last] = REDACTED;
  }
  return copy;
}
