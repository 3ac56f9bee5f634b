/**
 * Reads the agent's configuration: YAML text, checked against the schema, machine-dependent values filled in.
 * Called by the command line at start and by watch-config.ts on each change. Whatever is wrong comes out as one
 * ConfigError that lists all of it; nothing of an invalid file is ever used.
 */
import { dirname } from 'node:path';
import { redisUrlForms } from '../base/redis-url.js';
import { checkDocument, readConfigText } from './check-document.js';
import { ConfigError, NoAddressError } from './config-error.js';
import { isLoopback } from './field.js';
import { resolveConfig, thisMachine } from './resolve-config.js';
import type { AgentConfig, Machine } from './resolve-config.js';
import { hostAndPort, PROBES } from './publish-schema.js';
import { configSchema } from './schema.js';
import type { ConfigFile } from './schema.js';
import { valueAt } from './schema-walk.js';

/**
 * Loads a configuration file.
 * @throws {ConfigError} if it cannot be read or used.
 */
export function loadAgentConfig(path: string, machine: Machine = thisMachine()): AgentConfig {
  return parseAgentConfig(readConfigText(path), { source: path, directory: dirname(path), machine });
}

/** Where a configuration's text comes from. */
export interface ConfigSource {
  /** Name for error texts. Default: `(text)`. */
  source?: string;
  /** What relative paths start from. Default: the current directory. */
  directory?: string;
  machine?: Machine;
}

/**
 * Makes a configuration from YAML text; empty text gives all defaults.
 * @throws {ConfigError} if it cannot be used.
 */
export function parseAgentConfig(text: string, from: ConfigSource = {}): AgentConfig {
  const { source = '(text)', directory = process.cwd(), machine = thisMachine() } = from;
  const { data, at } = checkDocument(text, source, configSchema, {
    expand: withRegistrySection,
    contradictions,
  });
  const resolved = resolveConfig(data, directory, machine);
  if ('config' in resolved) return resolved.config;
  if ('noAddress' in resolved) {
    const field = 'advertise.host';
    const text = `${resolved.noAddress}; allowed: an IPv4 or IPv6 address that others can reach`;
    throw new NoAddressError(source, [{ field, ...at(field.split('.')), text }], data.advertise.waitMs);
  }
  const field = 'socket.group';
  throw new ConfigError(source, [
    {
      field,
      ...at(field.split('.')),
      text: `found "${resolved.unknownGroup}", which /etc/group does not list`,
    },
  ]);
}

/** Values that are fine one by one and impossible together. */
function contradictions(config: ConfigFile): { field: string; text: string }[] {
  const wrong: { field: string; text: string }[] = [];
  const { timeouts, registry, limits } = config;
  if (timeouts.defaultMs > timeouts.maxMs) {
    wrong.push({
      field: 'timeouts.defaultMs',
      text: `found ${timeouts.defaultMs}, allowed: at most timeouts.maxMs, ${timeouts.maxMs}`,
    });
  }
  if (registry.sweepMs > registry.leaseMs) {
    wrong.push({
      field: 'registry.sweepMs',
      text: `found ${registry.sweepMs}, allowed: at most registry.leaseMs, ${registry.leaseMs}`,
    });
  }
  if (limits.legacyBytes < 2 * limits.legacyMessageBytes) {
    wrong.push({
      field: 'limits.legacyBytes',
      text: `found ${limits.legacyBytes}, allowed: at least twice limits.legacyMessageBytes, ${2 * limits.legacyMessageBytes}`,
    });
  }
  if (registry.type === 'redis' && registry.url === null) {
    wrong.push({ field: 'registry.url', text: `found nothing, allowed with type redis: ${redisUrlForms}` });
  }
  if (registry.type === 'embedded' && registry.url !== null) {
    wrong.push({ field: 'registry.type', text: 'found "embedded" beside a url, allowed with a url: redis' });
  }
  const taken = new Map<number, string>();
  for (const section of ['inbound', 'loopback', 'admin', 'egressFallback'] as const) {
    const { port } = config[section];
    if (port === 0 || (section !== 'inbound' && !config[section].enabled)) continue;
    const other = taken.get(port);
    if (other !== undefined) {
      wrong.push({
        field: `${section}.port`,
        text: `found ${port}, which ${other}.port takes already; allowed: a port of its own`,
      });
    }
    taken.set(port, section);
  }
  return [...wrong, ...wrongPrograms(config), ...wrongFallback(config)];
}

function wrongFallback({ egressFallback, loopback, publish }: ConfigFile): { field: string; text: string }[] {
  const wrong: { field: string; text: string }[] = [];
  if (!egressFallback.enabled) return wrong;
  if (loopback.token === null) {
    wrong.push({
      field: 'loopback.token',
      text: 'found nothing, allowed with egressFallback.enabled: a token that all agents of this app share',
    });
  }
  if (publish.length > 0 && !egressFallback.force) {
    wrong.push({
      field: 'egressFallback.enabled',
      text: 'found true beside programs under publish, allowed with inbound traffic: only with egressFallback.force',
    });
  }
  return wrong;
}

function wrongPrograms({ publish, inbound, loopback }: ConfigFile): { field: string; text: string }[] {
  const wrong: { field: string; text: string }[] = [];
  const seen = new Map<string, number>();
  const own = [inbound.port, ...(loopback.enabled ? [loopback.port] : [])];
  publish.forEach(({ service, group, protocol, address, healthCheck }, i) => {
    const probes: readonly string[] = PROBES[protocol];
    if (healthCheck.kind !== null && !probes.includes(healthCheck.kind)) {
      wrong.push({
        field: `publish.${i}.healthCheck.kind`,
        text: `found "${healthCheck.kind}", allowed with protocol ${protocol}: ${probes.join(', ')}`,
      });
    }
    const where = hostAndPort(address);
    if (where !== undefined && isLoopback(where.host) && own.includes(where.port)) {
      wrong.push({
        field: `publish.${i}.address`,
        text: `found "${address}", where this agent listens itself; allowed: the address of another program`,
      });
    }
    const key = JSON.stringify([service, group, address]);
    const first = seen.get(key);
    if (first === undefined) seen.set(key, i);
    else {
      wrong.push({
        field: `publish.${i}`,
        text: `found the service, group and address of publish.${first} again; allowed: each of them once`,
      });
    }
  });
  return wrong;
}

/** `registry: redis://...` is short for a section with type and URL. */
function withRegistrySection(value: unknown): unknown {
  const url = valueAt(value, ['registry']);
  return typeof url === 'string' ? { ...(value as object), registry: { type: 'redis', url } } : value;
}
