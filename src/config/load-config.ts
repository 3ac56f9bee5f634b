/**
 * Reads the agent's configuration: YAML text, checked against the schema, machine-dependent values filled in.
 * Called by the command line at start and by watch-config.ts on each change. Whatever is wrong comes out as one
 * ConfigError that lists all of it; nothing of an invalid file is ever used.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import type { z } from 'zod';
import { errorText } from '../base/errors.js';
import { redisUrlForms } from '../base/redis-url.js';
import { ConfigError } from './config-error.js';
import type { ConfigProblem } from './config-error.js';
import { didYouMean } from './did-you-mean.js';
import { resolveConfig, thisMachine } from './resolve-config.js';
import type { AgentConfig, Machine } from './resolve-config.js';
import { configSchema } from './schema.js';
import type { ConfigFile } from './schema.js';
import { factsAt, fieldsOfSection, valueAt } from './schema-walk.js';
import type { FieldPath } from './schema-walk.js';

/** Larger files are refused before they are read. */
const MAX_FILE_BYTES = 1024 * 1024;
/** More problems than this are only counted. */
const MAX_PROBLEMS = 50;

/**
 * Loads a configuration file.
 * @throws {ConfigError} if it cannot be read or used.
 */
export function loadAgentConfig(path: string, machine: Machine = thisMachine()): AgentConfig {
  return parseAgentConfig(readConfigText(path), { source: path, directory: dirname(path), machine });
}

/**
 * The text of a configuration file.
 * @throws {ConfigError} if it cannot be read.
 */
export function readConfigText(path: string): string {
  try {
    return readBounded(path);
  } catch (error) {
    throw new ConfigError(path, [{ field: '', text: `cannot be read: ${errorText(error)}` }]);
  }
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
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = [...document.errors, ...document.warnings].map(({ message, pos }): ConfigProblem => {
    const { line, col } = lines.linePos(pos[0]);
    return { field: '', line, column: col, text: message };
  });
  fail(source, syntax);

  let raw: unknown;
  try {
    raw = withRegistrySection(withoutEmptySections(document.toJS({ maxAliasCount: 100 })));
  } catch (error) {
    throw new ConfigError(source, [{ field: '', text: errorText(error) }]);
  }
  const at = (path: FieldPath, key?: string): Pick<ConfigProblem, 'line' | 'column'> =>
    placeOf(document, lines, path, key);

  const checked = configSchema.safeParse(raw);
  if (!checked.success) {
    fail(
      source,
      checked.error.issues.flatMap((issue) => problemsOf(issue, raw, at)),
    );
    throw new ConfigError(source, [{ field: '', text: checked.error.message }]);
  }
  fail(
    source,
    contradictions(checked.data).map((wrong) => ({ ...wrong, ...at(wrong.field.split('.')) })),
  );

  const resolved = resolveConfig(checked.data, directory, machine);
  if ('config' in resolved) return resolved.config;
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
  const { timeouts, registry } = config;
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
  if (registry.type === 'redis' && registry.url === null) {
    wrong.push({ field: 'registry.url', text: `found nothing, allowed with type redis: ${redisUrlForms}` });
  }
  if (registry.type === 'embedded' && registry.url !== null) {
    wrong.push({ field: 'registry.type', text: 'found "embedded" beside a url, allowed with a url: redis' });
  }
  const taken = new Map<number, string>();
  for (const section of ['inbound', 'loopback', 'admin'] as const) {
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
  return wrong;
}

function problemsOf(
  issue: z.core.$ZodIssue,
  raw: unknown,
  at: (path: FieldPath, key?: string) => Pick<ConfigProblem, 'line' | 'column'>,
): ConfigProblem[] {
  const path = issue.path;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: nameOf([...path, key]),
      ...at(path, key),
      text: unknownFieldText(key, path),
    }));
  }
  const facts = factsAt(path);
  const value = valueAt(raw, path);
  const found = facts?.secret && typeof value === 'string' ? 'text that is not shown here' : shown(value);
  const fields = fieldsOfSection(path);
  const allowed =
    facts?.allowed ?? (fields.length > 0 ? `a section with ${fields.join(', ')}` : issue.message);
  return [{ field: nameOf(path), ...at(path), text: `found ${found}, allowed: ${allowed}` }];
}

function unknownFieldText(key: string, path: FieldPath): string {
  const fields = fieldsOfSection(path);
  const allowed =
    fields.length > 0 ? `fields here are ${fields.join(', ')}` : `allowed: ${factsAt(path)?.allowed ?? ''}`;
  const meant = didYouMean(key, fields);
  return meant === undefined ? `unknown field; ${allowed}` : `unknown field; did you mean "${meant}"?`;
}

function nameOf(path: FieldPath): string {
  return path.map((key) => String(key).slice(0, 80)).join('.');
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The place of the value at a path, or of one key of the section there, or of what encloses it. */
function placeOf(
  document: Document,
  lines: LineCounter,
  path: FieldPath,
  key?: string,
): { line?: number; column?: number } {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (!isNode(node) || !node.range) continue;
    const pair =
      key !== undefined && isMap(node)
        ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
        : undefined;
    const start = isScalar(pair?.key) && pair.key.range ? pair.key.range[0] : node.range[0];
    const { line, col } = lines.linePos(start);
    return { line, column: col };
  }
  return {};
}

/** A section whose fields are all commented out reads as null; it means the defaults. */
function withoutEmptySections(value: unknown): unknown {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, section]) => section !== null));
}

/** `registry: redis://...` is short for a section with type and URL. */
function withRegistrySection(value: unknown): unknown {
  const url = valueAt(value, ['registry']);
  return typeof url === 'string' ? { ...(value as object), registry: { type: 'redis', url } } : value;
}

function fail(source: string, problems: ConfigProblem[]): void {
  if (problems.length === 0) return;
  const listed = problems.slice(0, MAX_PROBLEMS);
  if (problems.length > listed.length) {
    listed.push({ field: '', text: `and ${problems.length - listed.length} more` });
  }
  throw new ConfigError(source, listed);
}

function readBounded(path: string): string {
  const file = openSync(path, 'r');
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is not a regular file');
    const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0) break;
      if (length > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } finally {
    closeSync(file);
  }
}
