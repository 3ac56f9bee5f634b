// A short name for a configuration as it is in force, so that one can see whether two agents, or an agent before and after a reload, have the same.
// Shown by `status`, the metrics and the log. Secrets do not count: a hash of them could be guessed.
import { createHash } from 'node:crypto';
import { redactConfig } from './redact-config.js';

/** Twelve hexadecimal digits of the SHA-256 over the configuration as /config shows it, with its fields in alphabetical order. */
export function configHash(config: object): string {
  const text = JSON.stringify(redactConfig(config), (_key, value: unknown) => inOrder(value));
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

function inOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
