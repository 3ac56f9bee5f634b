/**
 * Fills in what the configuration file leaves to the machine: the socket's path, the allowed users, the address
 * that others reach us at, the registry's directory. Everything it wants to know about the machine comes in as a
 * parameter, so that tests need no particular one.
 */
import { readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { defaultAgentSocket } from '../base/default-socket.js';
import { addressesOfMachine, listensEverywhere, reachableHost } from './reachable-host.js';
import type { MachineAddress, NoAddress } from './reachable-host.js';
import { PROBES } from './publish-schema.js';
import type { ProgramEntry } from './publish-schema.js';
import type { ConfigFile } from './schema.js';

/** The configuration an agent runs with: every value is there, every path is absolute. */
export interface AgentConfig extends Omit<
  ConfigFile,
  'socket' | 'inbound' | 'loopback' | 'advertise' | 'egressFallback' | 'registry' | 'takeover' | 'publish'
> {
  socket: {
    path: string;
    mode: string;
    /** Group id; null leaves the agent's own. */ group: number | null;
    allowUids: number[];
  };
  loopback: Omit<ConfigFile['loopback'], 'allowUids'> & { allowUids: number[] | 'any' };
  inbound: Omit<ConfigFile['inbound'], 'host'> & { host: string };
  advertise: Omit<ConfigFile['advertise'], 'host'> & { host: string };
  egressFallback: Omit<ConfigFile['egressFallback'], 'host'> & { host: string };
  registry: Omit<ConfigFile['registry'], 'directory' | 'cacheFile'> & {
    directory: string;
    cacheFile: string;
  };
  takeover: Omit<ConfigFile['takeover'], 'path'> & { path: string };
  publish: Program[];
}

/** A program beside the agent that it publishes. */
export interface Program extends Omit<ProgramEntry, 'zone' | 'healthCheck'> {
  zone: string;
  healthCheck: Omit<ProgramEntry['healthCheck'], 'kind'> & { kind: 'legacy-ping' | 'mesh-ping' | 'tcp' };
}

/** What is asked of the machine. */
export interface Machine {
  /** User id of this process. */
  uid: number;
  defaultSocketPath: string;
  /** Addresses of all interfaces that are up, in the kernel's order. */
  addresses: readonly MachineAddress[];
  /** Id of a group by name; undefined if there is none. */
  groupId(name: string): number | undefined;
}

/** The machine this process runs on. */
export function thisMachine(): Machine {
  return {
    uid: process.getuid?.() ?? 0,
    defaultSocketPath: defaultAgentSocket(),
    addresses: addressesOfMachine(),
    groupId: groupIdFromFile,
  };
}

/**
 * @param directory what relative paths start from: the configuration file's directory
 * @returns the configuration, or the name of a group that does not exist, or why there is no address for others
 */
export function resolveConfig(
  file: ConfigFile,
  directory: string,
  machine: Machine,
): { config: AgentConfig } | { unknownGroup: string } | NoAddress {
  const group =
    typeof file.socket.group === 'string' ? machine.groupId(file.socket.group) : file.socket.group;
  if (group === undefined) return { unknownGroup: String(file.socket.group) };
  const host = file.advertise.host ?? reachableHost(file, machine.addresses);
  if (typeof host !== 'string') return host;
  const everywhere = listensEverywhere(file, machine.addresses);
  const socketPath = resolve(directory, file.socket.path ?? machine.defaultSocketPath);
  const allowUids = file.socket.allowUids ?? [...new Set([machine.uid, 0])];
  const config: AgentConfig = {
    ...file,
    socket: {
      path: socketPath,
      mode: file.socket.mode,
      group,
      allowUids,
    },
    loopback: { ...file.loopback, allowUids: file.loopback.allowUids ?? allowUids },
    inbound: { ...file.inbound, host: file.inbound.host ?? everywhere },
    advertise: { ...file.advertise, host },
    egressFallback: { ...file.egressFallback, host: file.egressFallback.host ?? everywhere },
    registry: {
      ...file.registry,
      directory: resolve(directory, file.registry.directory ?? join(dirname(socketPath), 'registry')),
      cacheFile: resolve(
        directory,
        file.registry.cacheFile ?? join(dirname(socketPath), 'registry-cache.json'),
      ),
      caFile: file.registry.caFile === null ? null : resolve(directory, file.registry.caFile),
    },
    takeover: {
      ...file.takeover,
      path: resolve(
        directory,
        file.takeover.path ?? join(`${dirname(socketPath)}-takeover`, basename(socketPath)),
      ),
    },
    publish: file.publish.map((entry) => ({
      ...entry,
      zone: entry.zone ?? file.advertise.zone,
      healthCheck: { ...entry.healthCheck, kind: entry.healthCheck.kind ?? PROBES[entry.protocol][0] },
    })),
    filters: file.filters.map((filter) => ({ ...filter, module: resolve(directory, filter.module) })),
  };
  return { config };
}

/** Node cannot ask the name service; the file is what containers and services use. */
function groupIdFromFile(name: string): number | undefined {
  let text: string;
  try {
    text = readFileSync('/etc/group', 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text.split('\n')) {
    const [groupName, , id] = line.split(':');
    if (groupName === name && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  return undefined;
}
