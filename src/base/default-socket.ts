// Where an agent listens and an SDK looks when nobody says otherwise. Both sides read it from here, so that
// an agent and an app started by the same user find each other without configuration.
import { lstatSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

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

/**
 * Why the directory of a default path is not to be used: where everybody may make one, somebody else may have made it first, and would listen there or change
 * what lies there. Undefined if it may be, or is not there.
 */
export function whyForeignDirectory(path: string): string | undefined {
  const directory = dirname(path);
  const self = process.geteuid?.();
  const above = statSync(dirname(directory), { throwIfNoEntry: false });
  const found = lstatSync(directory, { throwIfNoEntry: false });
  if (self === undefined || found === undefined || above === undefined || (above.mode & 0o002) === 0)
    return undefined;
  const wrong = !found.isDirectory()
    ? 'is no directory'
    : found.uid !== self && found.uid !== 0
      ? `belongs to uid ${found.uid}`
      : (found.mode & 0o022) !== 0
        ? `can be written by others (mode ${(found.mode & 0o777).toString(8)})`
        : undefined;
  if (wrong === undefined) return undefined;
  return `${directory} ${wrong}, so whatever is in it may be another user's: remove it, or name another path for agent and applications (socket.path, RINGSIDE_AGENT)`;
}
