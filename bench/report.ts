// `npm run bench:report`: from results that are already there to a page with plots, or to the comparison in README.md. Measures nothing.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { resultSchema } from './measure/result.js';
import type { ScenarioResult } from './measure/result.js';
import { withComparison } from './report/comparison.js';
import { htmlReport } from './report/html.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = join(root, 'README.md');
const program = new Command('bench:report');

program
  .command('html')
  .description('Write one page about some result files.')
  .argument('<page>')
  .argument('<results...>')
  .action((page: string, files: string[]) => writeFileSync(page, htmlReport(files.flatMap(read))));

program
  .command('readme')
  .description('Put the comparison from bench/results into README.md.')
  .option('--check', 'change nothing, fail if it is not up to date')
  .action(({ check }: { check?: boolean }) => {
    const folder = join(root, 'bench', 'results');
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const results = Object.fromEntries(
      files.map((name) => [basename(name, '.json'), read(join(folder, name))[0]]),
    );
    const before = readFileSync(readme, 'utf8');
    const after = withComparison(before, results);
    if (check && before !== after)
      throw new Error('README.md is not what bench/results says: npm run bench:report -- readme');
    if (before !== after) writeFileSync(readme, after);
  });

try {
  program.parse();
} catch (error) {
  process.stderr.write(`bench:report: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

/** The results in a file: one, or several of one run. */
function read(file: string): ScenarioResult[] {
  const content = JSON.parse(readFileSync(file, 'utf8')) as ScenarioResult | { results: ScenarioResult[] };
  const results = 'results' in content ? content.results : [content];
  // What a file says may be anything.
  const other = results.map(({ schema }): number => schema).find((schema) => schema !== resultSchema);
  if (other !== undefined) throw new Error(`${file} is of schema ${other}, not ${resultSchema}`);
  return results;
}
