/**
 * Writes the table of docs/configuration.md from the schema. A test compares the document with it; run that test
 * with UPDATE_DOCS=1 to bring the document up to date.
 */
import { configSchema } from './schema.js';
import { allFields, valueAt } from './schema-walk.js';

/** A Markdown table of every field: default, what is allowed, when a change takes effect, meaning. */
export function describeConfig(): string {
  const defaults = configSchema.parse({});
  const rows = allFields().map(({ path, facts }) => {
    const byDefault = facts.defaultText ?? `\`${JSON.stringify(valueAt(defaults, path))}\``;
    const change = facts.restart ? 'restart' : 'at once';
    return `| \`${path.join('.')}\` | ${byDefault} | ${facts.allowed} | ${change} | ${facts.means} |`;
  });
  return ['| field | default | allowed | change | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}
