// Two agents of ours with a registry of their own, one beside the client and one beside the server.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { OwnedProcess } from '../../dist/cli/demo/owned-process.js';
import type { AgentAddress } from '../load/messages.js';
import type { Processes } from './processes.js';

export const transports = ['shm', 'unix', 'tcp'] as const;
export type Transport = (typeof transports)[number];

/** One running agent. */
export interface RunningAgent {
  process: OwnedProcess;
  socket: string;
  loopbackPort: number;
}

/** Two agents, and how the two applications reach them. */
export interface AgentPair {
  near: AgentAddress;
  far: AgentAddress;
  processes: OwnedProcess[];
}

export async function startAgentPair(transport: Transport, processes: Processes): Promise<AgentPair> {
  const directory = join(processes.directory, `agents-${transport}`);
  mkdirSync(directory);
  const [near, far] = await Promise.all([
    startAgent(`near-${transport}`, directory, processes),
    startAgent(`far-${transport}`, directory, processes),
  ]);
  const address = (agent: RunningAgent): AgentAddress => ({
    transport,
    address: transport === 'tcp' ? `tcp://127.0.0.1:${agent.loopbackPort}` : agent.socket,
  });
  return { near: address(near), far: address(far), processes: [near.process, far.process] };
}

/**
 * @param directory holds the registry and what the agent keeps
 * @param settings fields of its configuration that differ
 */
export async function startAgent(
  name: string,
  directory: string,
  processes: Processes,
  settings: object = {},
): Promise<RunningAgent> {
  const socket = join(directory, name, 'agent.sock');
  const file = join(directory, `${name}.yaml`);
  const config = {
    app: name,
    socket: { path: socket },
    loopback: { port: 0 },
    inbound: { host: '127.0.0.1', port: 0 },
    advertise: { host: '127.0.0.1' },
    admin: { enabled: false },
    registry: { directory: join(directory, 'registry') },
    log: { level: 'warn' },
    ...settings,
  };
  writeFileSync(file, stringify(config));
  const process = processes.ringside(`agent ${name}`, 'agent', '--config', file);
  const { ports } = await process.ask<{ ports: { loopback: number } }>();
  return { process, socket, loopbackPort: ports.loopback };
}
