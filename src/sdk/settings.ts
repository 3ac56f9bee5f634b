// Turns options and environment into settings without gaps, once, when a client or server is made. Options win over
// the environment. What is wrong is said here, before any connection is tried.
import { Buffer, constants } from 'node:buffer';
import { resolve } from 'node:path';
import { defaultAgentSocket, defaultAgentTcpPort } from '../base/default-socket.js';
import { MeshError } from '../base/errors.js';
import { maxBodyBytes, maxFrameBodyBytes, maxRingBytes, minRingBytes } from '../protocol/limits.js';
import { defaultAppName } from './hello.js';
import { logPlace } from './log.js';
import type { LogPlace } from './log.js';
import type { ChannelKind } from './channel.js';
import type { StreamLimits } from './stream-limits.js';
import type { MeshOptions } from './types.js';

/** A TCP address. */
export interface HostPort {
  host: string;
  port: number;
}

/** Everything that transports need to know. */
export interface Settings extends LogPlace {
  app: string;
  socketPath: string | undefined;
  /** Whether that path was given, and not the default. */
  socketGiven: boolean;
  /** Users that may be the agent, beside those who may anyhow. */
  agentUids: readonly number[] | 'any';
  tcp: HostPort | undefined;
  /** Transports that may be used, best first. */
  rungs: readonly ChannelKind[];
  token: string | undefined;
  mesh: boolean;
  ringBytes: number;
  connectTimeoutMs: number;
  keepAliveMs: number;
  backoff: { baseMs: number; maxMs: number };
  drainTimeoutMs: number;
  maxPendingCalls: number;
  maxOutboundBytes: number;
  streams: StreamLimits;
}

/** A unix socket's address holds so many bytes of path on Linux. */
const maxSocketPathBytes = 107;

function invalid(text: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', text, { mayHaveRun: false });
}

/** Reads `host:port` or `[v6]:port`, with or without `tcp://`; without a port `defaultPort` counts, if given. */
export function parseHostPort(text: string, defaultPort?: number): HostPort {
  const match = /^(?:tcp:\/\/)?(?:\[([^\]]+)\]|([^:/[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port > 65535)
    throw invalid(`"${text}" is not of the form host:port`);
  return { host, port };
}

function agentAddress(
  given: MeshOptions['agent'],
  env: NodeJS.ProcessEnv,
): Pick<Settings, 'socketPath' | 'socketGiven' | 'tcp'> {
  const agent = given ?? env['RINGSIDE_AGENT'];
  let socket = typeof agent === 'object' ? agent.socket : undefined;
  let tcp = typeof agent === 'object' ? agent.tcp : undefined;
  if (typeof agent === 'string' && agent !== '') {
    if (agent.startsWith('tcp://')) tcp = agent;
    else socket = agent;
  }
  // An agent named in the options is a whole answer: the environment's may be another agent.
  if (given === undefined) tcp ??= env['RINGSIDE_AGENT_TCP'] || undefined;
  if (socket === undefined && tcp === undefined) {
    return {
      socketPath: absolute(defaultAgentSocket(env)),
      socketGiven: false,
      tcp: { host: '127.0.0.1', port: defaultAgentTcpPort },
    };
  }
  return {
    socketPath: socket === undefined ? undefined : absolute(socket.replace(/^unix:(\/\/(?=\/))?/, '')),
    socketGiven: socket !== undefined,
    tcp: tcp === undefined ? undefined : parseHostPort(tcp, defaultAgentTcpPort),
  };
}

/** The application may go to another directory later, and must still find its agent then. */
function absolute(path: string): string {
  if (path === '' || path.includes('\0'))
    throw invalid('agent: the path of the socket is empty or holds a zero byte');
  const whole = resolve(path);
  const bytes = Buffer.byteLength(whole);
  if (bytes <= maxSocketPathBytes) return whole;
  throw invalid(
    `agent: the path of the socket, ${whole}, has ${bytes} bytes; the system takes at most ${maxSocketPathBytes}, so name a shorter one`,
  );
}

function agentUsers(given: MeshOptions['agentUids'], env: NodeJS.ProcessEnv): Settings['agentUids'] {
  const text = env['RINGSIDE_AGENT_UIDS'] || undefined;
  const name = given === undefined ? 'RINGSIDE_AGENT_UIDS' : 'agentUids';
  const users: unknown =
    given ??
    (text === undefined ? [] : text === 'any' ? text : text.split(',').map((uid) => Number(uid || NaN)));
  const isUid = (uid: unknown): uid is number =>
    Number.isInteger(uid) && Number(uid) >= 0 && Number(uid) < 2 ** 32 - 1;
  if (users === 'any' || (Array.isArray(users) && users.length <= 64 && users.every(isUid))) return users;
  throw invalid(`${name} must be a list of at most 64 user ids, or "any"`);
}

function rungsOf(
  transport: string,
  socketPath: string | undefined,
  tcp: HostPort | undefined,
): ChannelKind[] {
  if (transport !== 'auto' && transport !== 'shm' && transport !== 'unix' && transport !== 'tcp') {
    throw invalid(`transport "${transport}" is not one of auto, shm, unix, tcp`);
  }
  const all: ChannelKind[] = ['shm', 'unix', 'tcp'];
  const reachable = all.filter((kind) => (kind === 'tcp' ? tcp !== undefined : socketPath !== undefined));
  const allowed = reachable.filter((kind) => transport === 'auto' || kind === transport);
  if (allowed.length === 0) throw invalid(`transport ${transport} needs an agent address that was not given`);
  return transport === 'auto' && socketPath !== undefined ? [...allowed, 'fallback'] : allowed;
}

/** A number option that must be positive and finite. */
export function positive(value: number | undefined, fallback: number, name: string): number {
  const number = value ?? fallback;
  if (typeof number !== 'number' || !(number > 0 && number <= 0x7fffffff)) {
    throw invalid(`${name} must be more than 0 and at most 2147483647`);
  }
  return number;
}

/** A whole number option between two bounds. */
function whole(
  value: number | undefined,
  fallback: number,
  name: string,
  least: number,
  most: number,
): number {
  const number = value ?? fallback;
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw invalid(`${name} must be a whole number from ${least} to ${most}`);
}

function streamLimits(options: MeshOptions): StreamLimits {
  const most = Math.min(maxBodyBytes, constants.MAX_LENGTH);
  const longest = whole(options.maxBodyBytes, 64 * 1024 * 1024, 'maxBodyBytes', maxFrameBodyBytes, most);
  const atOnce = whole(options.maxStreams, 64, 'maxStreams', 1, 65_536);
  const fallback = Math.max(256 * 1024 * 1024, longest);
  const together = whole(
    options.maxStreamBytes,
    fallback,
    'maxStreamBytes',
    longest,
    Number.MAX_SAFE_INTEGER,
  );
  return { maxBodyBytes: longest, maxStreams: atOnce, maxStreamBytes: together };
}

/** Settings from options and environment. Throws a MeshError INVALID_ARGUMENT that names what is wrong. */
export function resolveSettings(options: MeshOptions, env: NodeJS.ProcessEnv = process.env): Settings {
  const { socketPath, socketGiven, tcp } = agentAddress(options.agent, env);
  const mesh = options.mesh ?? env['RINGSIDE_MESH'] !== 'off';
  const ringBytes = options.ringBytes ?? 1024 * 1024;
  if (!Number.isInteger(Math.log2(ringBytes)) || ringBytes < minRingBytes || ringBytes > maxRingBytes) {
    throw invalid(`ringBytes must be a power of two from ${minRingBytes} to ${maxRingBytes}`);
  }
  const baseMs = positive(options.backoffMs?.min, 100, 'backoffMs.min');
  const maxMs = positive(options.backoffMs?.max, Math.max(5_000, baseMs), 'backoffMs.max');
  return {
    app: options.app ?? defaultAppName(env),
    socketPath,
    socketGiven,
    agentUids: agentUsers(options.agentUids, env),
    tcp,
    rungs: mesh
      ? rungsOf(options.transport ?? (env['RINGSIDE_TRANSPORT'] || 'auto'), socketPath, tcp)
      : ['tcp'],
    token: options.token ?? (env['RINGSIDE_TOKEN'] || undefined),
    mesh,
    ringBytes,
    connectTimeoutMs: positive(options.connectTimeoutMs, 2_000, 'connectTimeoutMs'),
    keepAliveMs: positive(options.keepAliveMs, 10_000, 'keepAliveMs'),
    backoff: { baseMs, maxMs },
    drainTimeoutMs: positive(options.drainTimeoutMs, 10_000, 'drainTimeoutMs'),
    maxPendingCalls: whole(options.maxPendingCalls, 16_384, 'maxPendingCalls', 1, 65_536),
    maxOutboundBytes: positive(options.maxOutboundBytes, 8 * 1024 * 1024, 'maxOutboundBytes'),
    streams: streamLimits(options),
    ...logPlace(options.log, env),
  };
}

/** Addresses by service for direct mode, from the option or `RINGSIDE_ENDPOINTS`. */
export function resolveEndpoints(
  given: Record<string, readonly string[]> | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Map<string, HostPort[]> {
  let source: unknown = given;
  const text = env['RINGSIDE_ENDPOINTS'];
  if (given === undefined && text) {
    try {
      source = JSON.parse(text);
    } catch {
      throw invalid('RINGSIDE_ENDPOINTS is not JSON');
    }
  }
  const endpoints = new Map<string, HostPort[]>();
  if (source === undefined) return endpoints;
  if (typeof source !== 'object' || source === null)
    throw invalid('endpoints must map services to lists of host:port');
  for (const [service, addresses] of Object.entries(source)) {
    if (!Array.isArray(addresses)) throw invalid(`the endpoints of ${service} must be a list of host:port`);
    endpoints.set(
      service,
      addresses.map((address) => parseHostPort(String(address))),
    );
  }
  return endpoints;
}
