// Versions of the agent as archives for the ops agent: a package.json whose `ringside` is a launcher that runs this build, and does first or
// instead what the test wants of that version.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { create } from 'tar';
import { commandLine } from './agent-process.js';

export interface Archive {
  version: string;
  source: string;
  sha256: string;
}

/** Launchers by what is the matter with the version. */
export const launchers = {
  good: '',
  /** Ends before it is ready. */
  crashing: `process.stderr.write('this version is broken\\n'); process.exit(1);`,
  /** Serves, but its admin server answers 500 to everything. */
  unwell: `
    const { Server } = await import('node:http');
    const emit = Server.prototype.emit;
    Server.prototype.emit = function (event, request, response) {
      if (event !== 'request') return emit.apply(this, arguments);
      response.statusCode = 500;
      response.end('unwell');
      return true;
    };`,
  /** Serves, and ends with code 3 when it is asked for its metrics. */
  dying: `
    const { Server } = await import('node:http');
    const emit = Server.prototype.emit;
    Server.prototype.emit = function (event, request) {
      if (event === 'request' && request.url === '/metrics') process.exit(3);
      return emit.apply(this, arguments);
    };`,
  /** Begins when the file exists. */
  waitingFor: (file: string) => `
    const { existsSync } = await import('node:fs');
    while (!existsSync(${JSON.stringify(file)})) await new Promise((resolve) => setTimeout(resolve, 20));`,
} as const;

export interface More {
  /** What it does first when it is asked about a configuration, `agent --check`. */
  check?: string;
  /** Further files, by their paths. */
  files?: Record<string, string>;
}

/** Writes `<directory>/<version>.tar.gz`. `first` is what it does before it is an agent. */
export async function archiveOf(
  directory: string,
  version: string,
  first = '',
  { check = '', files: further = {} }: More = {},
): Promise<Archive> {
  const files = mkdtempSync(join(directory, 'files-'));
  const manifest = {
    name: '@ringside/mesh',
    version,
    type: 'module',
    bin: { ringside: 'bin/run.mjs' },
  };
  writeFileSync(join(files, 'package.json'), JSON.stringify(manifest));
  mkdirSync(join(files, 'bin'));
  const main = pathToFileURL(commandLine).href;
  const starting = `if (process.argv.includes('--check')) {${check}\n} else {${first}\n}`;
  writeFileSync(join(files, 'bin', 'run.mjs'), `${starting}\nawait import(${JSON.stringify(main)});\n`);
  for (const [path, text] of Object.entries(further)) {
    mkdirSync(dirname(join(files, path)), { recursive: true });
    writeFileSync(join(files, path), text);
  }
  const source = join(directory, `${version}.tar.gz`);
  await create({ file: source, gzip: true, cwd: files, portable: true }, readdirSync(files));
  rmSync(files, { recursive: true });
  return { version, source, sha256: sha256Of(source) };
}

export function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
