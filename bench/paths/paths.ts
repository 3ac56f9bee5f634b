// Every way a call can take in the benchmark. All of them join the same two applications; only what stands between them and the protocol
// differ.
import type { OwnedProcess } from '../../dist/cli/demo/owned-process.js';
import type { ConnectOrder, EndpointKind, ServeAnswer, ServeOrder } from '../load/messages.js';
import { startAgentPair, transports } from './agents.js';
import type { Transport } from './agents.js';
import { AbsentError } from './processes.js';
import type { Processes } from './processes.js';
import { proxyKinds, startProxies } from './proxies.js';
import type { ProxyKind } from './proxies.js';

export const pathNames = [
  'raw',
  'direct',
  'node-net',
  'haproxy',
  'nginx',
  'mosn',
  'tcp',
  'unix',
  'shm',
  'grpc-direct',
  'http-direct',
] as const;
export type PathName = (typeof pathNames)[number];

export const pathDescriptions: Record<PathName, string> = {
  raw: 'bare Node sockets',
  direct: 'SDK to SDK over TCP, nothing between',
  'node-net': 'two TCP proxies in plain Node',
  haproxy: 'two HAProxy, tcp mode',
  nginx: 'two nginx, stream module',
  mosn: 'two MOSN, as TCP proxies',
  tcp: 'two agents, apps over TCP loopback',
  unix: 'two agents, apps over a unix socket',
  shm: 'two agents, apps over shared memory',
  'grpc-direct': '@grpc/grpc-js, unary, nothing between',
  'http-direct': 'undici to node:http, nothing between',
};

const kinds: Partial<Record<PathName, EndpointKind>> = {
  raw: 'raw',
  'grpc-direct': 'grpc',
  'http-direct': 'http',
};

/** The two applications that all paths join. */
export interface Applications {
  server: OwnedProcess;
  client: OwnedProcess;
}

/** Sets up one path until a first call has gone through it. Answers with the processes between the applications. */
export async function openPath(
  path: PathName,
  { server, client }: Applications,
  processes: Processes,
): Promise<OwnedProcess[]> {
  const kind = kinds[path] ?? 'sdk';
  if (isTransport(path)) {
    const pair = await startAgentPair(path, processes);
    await serve(server, { path, kind, agent: pair.far });
    await connect(client, { path, kind, address: '', agent: pair.near });
    return pair.processes;
  }
  const { address } = await serve(server, { path, kind });
  const between = isProxy(path)
    ? await startProxies(path, address, processes)
    : { address, processes: [] as OwnedProcess[] };
  await connect(client, { path, kind, address: between.address });
  return between.processes;
}

async function serve(server: OwnedProcess, order: ServeOrder['serve']): Promise<ServeAnswer> {
  return server.ask<ServeAnswer>({ serve: order }).catch(absentPackage);
}

async function connect(client: OwnedProcess, order: ConnectOrder['connect']): Promise<void> {
  await client.ask({ connect: order }).catch(absentPackage);
}

/** A package that is not installed is missed where it is imported, in an application. */
function absentPackage(error: Error): never {
  const name = /Cannot find package '([^']+)'/.exec(error.message)?.[1];
  if (name !== undefined) throw new AbsentError(`the package ${name} is not installed (npm ci)`);
  throw error;
}

function isTransport(path: PathName): path is PathName & Transport {
  return (transports as readonly string[]).includes(path);
}

function isProxy(path: PathName): path is PathName & ProxyKind {
  return (proxyKinds as readonly string[]).includes(path);
}
