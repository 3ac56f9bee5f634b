// The peers that forward TCP: two of a kind one behind the other in front of a server, as two sidecars would stand. Each takes its
// configuration from bench/peers, with @LISTEN@, @UPSTREAM@ (ports) and @DIRECTORY@ filled in, and runs as one process in
// the foreground.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { splitAddress } from '../load/endpoint.js';
import { AbsentError, executable, freePort, listening } from './processes.js';
import type { Processes } from './processes.js';
import type { OwnedProcess } from '../../dist/cli/demo/owned-process.js';

export const proxyKinds = ['node-net', 'haproxy', 'nginx', 'mosn'] as const;
export type ProxyKind = (typeof proxyKinds)[number];

/** What stands between client and server on one path. */
export interface Between {
  /** Where the client connects to. */
  address: string;
  processes: OwnedProcess[];
}

interface Spec {
  listen: number;
  upstream: number;
  /** For files of this proxy alone. */
  directory: string;
}

/** Starts two proxies in front of `upstream`; throws an AbsentError if there is no such proxy on this machine. */
export async function startProxies(
  kind: ProxyKind,
  upstream: string,
  processes: Processes,
): Promise<Between> {
  const far = await startProxy(kind, 'far', upstream, processes);
  const near = await startProxy(kind, 'near', far.address, processes);
  return { address: near.address, processes: [near.process, far.process] };
}

async function startProxy(
  kind: ProxyKind,
  side: string,
  upstream: string,
  processes: Processes,
): Promise<{ address: string; process: OwnedProcess }> {
  const listen = await freePort();
  const directory = join(processes.directory, `${kind}-${side}`);
  mkdirSync(directory);
  const spec = { listen, upstream: splitAddress(upstream).port, directory };
  const process = starters[kind](`${kind} (${side})`, spec, processes);
  await listening(process, listen);
  return { address: `127.0.0.1:${listen}`, process };
}

const starters: Record<ProxyKind, (name: string, spec: Spec, processes: Processes) => OwnedProcess> = {
  'node-net': (name, { listen, upstream }, processes) =>
    processes.script(name, 'paths/node-net-proxy.js', String(listen), '127.0.0.1', String(upstream)),
  haproxy: (name, spec, processes) =>
    processes.program(name, mustHave('haproxy'), ['-db', '-f', configure('haproxy.cfg', spec)]),
  nginx: (name, spec, processes) =>
    processes.program(name, mustHave('nginx'), [
      '-p',
      spec.directory,
      '-e',
      'stderr',
      '-c',
      configure('nginx.conf', spec),
    ]),
  mosn: (name, spec, processes) =>
    processes.program(name, mosn(), ['start', '-c', configure('mosn.json', spec)]),
};

function mustHave(command: string): string {
  const found = executable(command);
  if (found === undefined) throw new AbsentError(`${command} is not installed (bench/peers/set-up.sh)`);
  return found;
}

/** MOSN comes by its Go module path, into a cache outside the repository (bench/peers/set-up.sh). */
export function mosn(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const file = process.env['MOSN_BIN'] ?? join(cache, 'ringside-bench', 'bin', 'mosn');
  if (!existsSync(file)) throw new AbsentError('MOSN is not installed (bench/peers/set-up.sh)');
  return file;
}

function configure(template: string, spec: Spec): string {
  const text = readFileSync(new URL(`../../bench/peers/${template}`, import.meta.url), 'utf8');
  const file = join(spec.directory, template);
  const values: Record<string, string> = {
    LISTEN: String(spec.listen),
    UPSTREAM: String(spec.upstream),
    DIRECTORY: spec.directory,
  };
  writeFileSync(
    file,
    text.replaceAll(/@([A-Z]+)@/g, (whole, name: string) => values[name] ?? whole),
  );
  return file;
}
