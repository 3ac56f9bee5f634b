// The list of other agents of the same application that the local agent keeps beside its socket, for the time when it is down
// (src/agent/egress-fallback.ts writes it). Read anew for each attempt, as the agent may have changed it meanwhile.
import { open } from 'node:fs/promises';
import { fallbackListOf } from '../base/default-socket.js';
import { errorText } from '../base/errors.js';
import type { AgentUsers } from './agent-users.js';
import { parseHostPort } from './settings.js';
import type { HostPort } from './settings.js';

/** See the file's head. */
export interface FallbackList {
  /** What these agents ask for. */
  readonly token: string;
  readonly agents: readonly HostPort[];
}

/**
 * Reads the list.
 * @returns undefined if there is none, because the agent does not allow it
 * @throws Error saying what is wrong with it
 */
export async function readFallbackList(
  socketPath: string,
  users: Pick<AgentUsers, 'whyNotWrittenByAgent'>,
): Promise<FallbackList | undefined> {
  const path = fallbackListOf(socketPath);
  let text: string;
  let owner: number;
  try {
    const file = await open(path);
    try {
      owner = (await file.stat()).uid;
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`the list of other agents cannot be read: ${errorText(error)}`, { cause: error });
  }
  const wrong = users.whyNotWrittenByAgent(owner, path);
  if (wrong !== undefined) throw new Error(wrong);
  try {
    const { token, agents } = JSON.parse(text) as Record<string, unknown>;
    if (typeof token !== 'string' || !Array.isArray(agents)) throw new Error('token or agents is missing');
    return { token, agents: agents.map((address) => parseHostPort(String(address))) };
  } catch (error) {
    throw new Error(`the list of other agents, ${path}, is malformed: ${errorText(error)}`, { cause: error });
  }
}
