// Writes dist/build-info.json, from which src/base/build-info.ts reads the commit: part of `npm run build:ts`. Where this is no work tree of its own (an
// unpacked package, a copy without .git) the commit is absent, unless RINGSIDE_COMMIT names it, as builds of containers do.
import { execFileSync } from 'node:child_process';
import { realpathSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = realpathSync(fileURLToPath(new URL('.', import.meta.url)));
const git = (...args) =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

function commit() {
  if (process.env.RINGSIDE_COMMIT) return process.env.RINGSIDE_COMMIT;
  try {
    // Else it would be the commit of whoever installed this.
    if (realpathSync(git('rev-parse', '--show-toplevel')) !== realpathSync(root)) return null;
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? '-dirty' : ''}`;
  } catch {
    return null;
  }
}

writeFileSync(new URL('dist/build-info.json', import.meta.url), `${JSON.stringify({ commit: commit() })}\n`);
