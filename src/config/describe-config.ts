/**
 * Writes the table of fields of a document (docs/configuration.md, docs/ops.md) from a schema. A test compares the
 * document with it; run that test with UPDATE_DOCS=1 to bring the document up to date.
 */
import type { z } from 'zod';
import { allFields, entryFields, valueAt } from './schema-walk.js';
import type { FieldDescription } from './schema-walk.js';

/** A Markdown table of every field: default, what is allowed, when a change takes effect, meaning. */
export function describeConfig(schema: z.ZodType): string {
  const defaults = schema.parse({});
  const row = ({ path, facts }: FieldDescription, value: unknown): string => {
    const byDefault = facts.defaultText ?? `\`${JSON.stringify(value)}\``;
    const change = facts.restart ? 'restart' : 'at once';
    return `| \`${path.join('.')}\` | ${byDefault} | ${facts.allowed} | ${change} | ${facts.means} |`;
  };
  const rows = allFields(schema).flatMap((field) => [
    row(field, valueAt(defaults, field.path)),
    ...entryFields(schema, field.path).map((entry) => row(entry, entry.byDefault)),
  ]);
  return ['| field | default | allowed | change | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}
