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

/** The facts of the field that a path names or lies in; undefined for a section and for unknown paths. */
export function factsAt(root: z.ZodType, path: FieldPath): FieldFacts | undefined {
  let schema: unknown = root;
  for (const key of path) {
    const facts = factsOf(schema);
    if (facts) return facts;
    schema = childOf(schema, key);
  }
  return factsOf(schema);
}

/** Names of the fields of the section at a path; empty where the path names no section. */
export function fieldsOfSection(root: z.ZodType, path: FieldPath): string[] {
  let schema: unknown = root;
  for (const key of path) schema = childOf(schema, key);
  return Object.keys(childrenOf(schema));
}

/** All fields in the schema's order. */
export function allFields(root: z.ZodType): FieldDescription[] {
  const fields: FieldDescription[] = [];
  const visit = (schema: unknown, path: readonly string[]): void => {
    const facts = factsOf(schema);
    if (facts) fields.push({ path, facts });
    else for (const [key, child] of Object.entries(childrenOf(schema))) visit(child, [...path, key]);
  };
  visit(root, []);
  return fields;
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
