/**
 * Reads a configuration file of any kind: YAML text, checked against a schema whose fields carry their facts (field.ts). Used for the
 * agent's configuration, the ops agent's and a rollout's list of targets. Whatever is wrong comes out as one ConfigError that lists all
 * of it with its place in the file.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import type { z } from 'zod';
import { errorText } from '../base/errors.js';
import { ConfigError } from './config-error.js';
import type { ConfigProblem } from './config-error.js';
import { didYouMean } from './did-you-mean.js';
import { factsAt, fieldsOfSection, valueAt } from './schema-walk.js';
import type { FieldPath } from './schema-walk.js';

/** Larger files are refused before they are read. */
const MAX_FILE_BYTES = 1024 * 1024;
/** More problems than this are only counted. */
const MAX_PROBLEMS = 50;

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

/** What a kind of configuration adds to its schema. */
export interface DocumentRules<T> {
  /** Rewrites short forms before the schema sees them. */
  expand?: (raw: unknown) => unknown;
  /** Values that are fine one by one and impossible together. */
  contradictions?: (data: T) => { field: string; text: string }[];
}

/** Where a problem is, by the path of a field or of one key of a section. */
export type PlaceOf = (path: FieldPath, key?: string) => Pick<ConfigProblem, 'line' | 'column'>;

/**
 * Checks YAML text; empty text, and sections without fields, mean the defaults.
 * @param source name of the text in errors
 * @throws {ConfigError} if it cannot be used.
 */
export function checkDocument<S extends z.ZodType>(
  text: string,
  source: string,
  schema: S,
  rules: DocumentRules<z.output<S>> = {},
): { data: z.output<S>; at: PlaceOf } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = [...document.errors, ...document.warnings].map(({ message, pos }): ConfigProblem => {
    const { line, col } = lines.linePos(pos[0]);
    return { field: '', line, column: col, text: message };
  });
  fail(source, syntax);

  let raw: unknown;
  try {
    raw = withoutEmptySections(document.toJS({ maxAliasCount: 100 }));
    if (rules.expand) raw = rules.expand(raw);
  } catch (error) {
    throw new ConfigError(source, [{ field: '', text: errorText(error) }]);
  }
  const at: PlaceOf = (path, key) => placeOf(document, lines, path, key);

  const checked = schema.safeParse(raw);
  if (!checked.success) {
    fail(
      source,
      checked.error.issues.flatMap((issue) => problemsOf(schema, issue, raw, at)),
    );
    throw new ConfigError(source, [{ field: '', text: checked.error.message }]);
  }
  const wrong = rules.contradictions?.(checked.data) ?? [];
  fail(
    source,
    wrong.map((one) => ({ ...one, ...at(one.field.split('.')) })),
  );
  return { data: checked.data, at };
}

function problemsOf(schema: z.ZodType, issue: z.core.$ZodIssue, raw: unknown, at: PlaceOf): ConfigProblem[] {
  const path = issue.path;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: nameOf([...path, key]),
      ...at(path, key),
      text: unknownFieldText(schema, key, path),
    }));
  }
  const facts = factsAt(schema, path);
  const value = valueAt(raw, path);
  const found = facts?.secret && typeof value === 'string' ? 'text that is not shown here' : shown(value);
  const fields = fieldsOfSection(schema, path);
  const allowed =
    facts?.allowed ?? (fields.length > 0 ? `a section with ${fields.join(', ')}` : issue.message);
  return [{ field: nameOf(path), ...at(path), text: `found ${found}, allowed: ${allowed}` }];
}

function unknownFieldText(schema: z.ZodType, key: string, path: FieldPath): string {
  const fields = fieldsOfSection(schema, path);
  const allowed =
    fields.length > 0
      ? `fields here are ${fields.join(', ')}`
      : `allowed: ${factsAt(schema, path)?.allowed ?? ''}`;
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
