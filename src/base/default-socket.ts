// Where an agent listens and an SDK looks when nobody says otherwise. Both sides read it from here, so that
// an agent and an app started by the same user find each other without configuration.
import { join } from 'node:path';

/** The loopback port of an agent for apps that cannot use its unix socket. */
export const defaultAgentTcpPort = 15100;

/** Default path of the agent's unix socket: under `$XDG_RUNTIME_DIR`, else under `/tmp` with the uid. */
export function defaultAgentSocket(env: NodeJS.ProcessEnv = process.env): string {
  const runtimeDir = env['XDG_RUNTIME_DIR'];
  if (runtimeDir) return join(runtimeDir, 'ringside', 'agent.sock');
  return `/tmp/ringside-${process.getuid?.() ?? 0}/agent.sock`;
}

/** Where an agent keeps the list of other agents that applications may use while it is down. */
export function fallbackListOf(socketPath: string): string {
  return `${socketPath}.fallback`;
}
