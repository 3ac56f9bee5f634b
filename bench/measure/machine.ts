// What a figure must be read with: the machine, and the versions of everything that took part.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { executable } from '../paths/processes.js';
import { mosn } from '../paths/proxies.js';

export interface MachineFacts {
  cpu: string;
  cores: number;
  memoryGb: number;
  kernel: string;
  /** Whether a hypervisor lies below, which makes waking a halted core dear. */
  virtual: boolean;
  /** One minute's load when the run began: above 0.5 something else was running. */
  loadAverage: number;
  versions: Record<string, string>;
}

export function machineFacts(): MachineFacts {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    virtual: /^flags.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')),
    loadAverage: loadavg()[0] ?? 0,
    versions: versions(),
  };
}

function versions(): Record<string, string> {
  const found: Record<string, string | undefined> = {
    ringside: commit(),
    node: process.version,
    haproxy: versionOf('haproxy', ['-v']),
    nginx: versionOf('nginx', ['-v']),
    mosn: mosnVersion(),
    '@grpc/grpc-js': packageVersion('@grpc/grpc-js'),
    undici: packageVersion('undici'),
  };
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => !!entry[1]));
}

function commit(): string | undefined {
  const git = (...args: string[]): string =>
    spawnSync('git', ['-C', import.meta.dirname, ...args], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const hash = git('rev-parse', '--short=12', 'HEAD');
  if (hash === '') return undefined;
  return git('status', '--porcelain', '--untracked-files=no') === '' ? hash : `${hash} with changes`;
}

function versionOf(name: string, args: readonly string[]): string | undefined {
  const file = executable(name) ?? (name.startsWith('/') ? name : undefined);
  if (file === undefined) return undefined;
  const { stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  return /\d+\.\d+[\w.+~-]*/.exec(`${stdout}${stderr}`)?.[0];
}

function mosnVersion(): string | undefined {
  try {
    return versionOf(mosn(), ['--version']);
  } catch {
    return undefined;
  }
}

/** Packages need not export their package.json, so it is looked for above their entry. */
function packageVersion(name: string): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const folder = entry.slice(0, entry.lastIndexOf(`/node_modules/${name}/`));
    const text = readFileSync(`${folder}/node_modules/${name}/package.json`, 'utf8');
    return (JSON.parse(text) as { version: string }).version;
  } catch {
    return undefined;
  }
}
