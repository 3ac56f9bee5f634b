/**
 * Finds its way in a configuration's schema: from a path to the facts about the field there, and over all fields.
 * Used by whatever speaks about fields (errors, differences, redaction, documentation), so that those need not know
 * how zod nests defaults, sections, lists and unions.
 */
import { z } from 'zod';
import { fieldFacts } from './field.js';
import type { FieldFacts } from './field.js';

/** Path of a field: keys and list indices. */
export type FieldPath = readonly PropertyKey[];

/** One documented field. */
export interface FieldDescription {
  path: readonly string[];
  facts: FieldFacts;
}

/** The facts of the innermost field that a path names or lies in; undefined for a section and for unknown paths. */
export function factsAt(root: z.ZodType, path: FieldPath): FieldFacts | undefined {
  let schema: unknown = root;
  let facts = factsOf(schema);
  for (const key of path) {
    schema = childOf(schema, key);
    facts = factsOf(schema) ?? (fieldsUnder(schema, []).length > 0 ? undefined : facts);
  }
  return facts;
}

/** Names of the fields of the section, or of the list's entry, at a path; empty where the path names neither. */
export function fieldsOfSection(root: z.ZodType, path: FieldPath): string[] {
  let schema: unknown = root;
  for (const key of path) schema = childOf(schema, key);
  return Object.keys(childrenOf(schema));
}

/** All fields in the schema's order; a list is one field. */
export function allFields(root: z.ZodType): FieldDescription[] {
  return fieldsUnder(root, []);
}

/** The fields of an entry of the list at a path, with the name that documentation gives them; none where entries have no facts of their own. */
export function entryFields(
  root: z.ZodType,
  path: readonly string[],
): (FieldDescription & { byDefault: unknown })[] {
  let schema: unknown = root;
  for (const key of path) schema = childOf(schema, key);
  const entry = childOf(schema, 0);
  return fieldsUnder(entry, []).map((field) => {
    let leaf: unknown = entry;
    for (const key of field.path) leaf = childOf(leaf, key);
    const byDefault: unknown = leaf instanceof z.ZodDefault ? leaf.def.defaultValue : undefined;
    const [first = '', ...rest] = field.path;
    return { ...field, path: [...path.slice(0, -1), `${path.at(-1)}[]`, first, ...rest], byDefault };
  });
}

function fieldsUnder(start: unknown, at: readonly string[]): FieldDescription[] {
  const facts = factsOf(start);
  if (facts) return [{ path: at, facts }];
  return Object.entries(childrenOf(start)).flatMap(([key, child]) => fieldsUnder(child, [...at, key]));
}

/** The value at a path; undefined where there is none. */
export function valueAt(value: unknown, path: FieldPath): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined;
    found = (found as Record<PropertyKey, unknown>)[key];
  }
  return found;
}

function factsOf(schema: unknown): FieldFacts | undefined {
  return schema instanceof z.ZodType ? fieldFacts.get(schema) : undefined;
}

/** The field of a section, or an element of a list. */
function childOf(schema: unknown, key: PropertyKey): unknown {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault)
    return childOf(schema.def.innerType, key);
  return schema instanceof z.ZodArray ? schema.element : childrenOf(schema)[String(key)];
}

function childrenOf(schema: unknown): Record<string, unknown> {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault)
    return childrenOf(schema.def.innerType);
  if (schema instanceof z.ZodObject) return schema.shape;
  if (schema instanceof z.ZodDiscriminatedUnion) {
    return Object.assign({}, ...schema.def.options.map(childrenOf)) as Record<string, unknown>;
  }
  return {};
}
