// Whom an application takes for its agent: what it says to an agent is its token and other people's requests, so it looks at who listens before it says
// anything. Itself, root, whom `agentUids` names, and for a socket whose path was given also the owner of its directory, if only he (and root) may
// write there. Asked anew at each attempt, as directories come and go.
import { lstatSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { whyForeignDirectory } from '../base/default-socket.js';
import { userBehind } from '../native/peer-user.js';
import type { PeerUser } from '../native/peer-user.js';
import type { Settings } from './settings.js';

const groupOrOthersMayWrite = 0o022;

/** See the file's head. */
export class AgentUsers {
  constructor(private readonly settings: Pick<Settings, 'socketPath' | 'socketGiven' | 'agentUids'>) {}

  /** @throws Error if the default directory is somebody else's */
  checkDirectory(): void {
    const { socketPath, socketGiven, agentUids } = this.settings;
    if (socketPath === undefined || socketGiven || agentUids === 'any') return;
    const wrong = whyForeignDirectory(socketPath);
    if (wrong !== undefined) throw new Error(wrong);
  }

  /** Those who may be the agent; undefined where everybody may, or where there are no users. */
  allowed(): readonly number[] | undefined {
    const { socketPath, socketGiven, agentUids } = this.settings;
    const self = process.geteuid?.();
    if (agentUids === 'any' || self === undefined) return undefined;
    const owner = socketPath !== undefined && socketGiven ? soleWriter(dirname(socketPath)) : undefined;
    return [...new Set([self, 0, ...agentUids, ...(owner === undefined ? [] : [owner])])];
  }

  /** Why what listens behind a connected unix socket is not the agent; undefined if it may be. */
  whyNotAtSocket(socket: Socket): string | undefined {
    const { socketPath } = this.settings;
    const found = userIfKnown(socket);
    // Without the addon only the file tells: whose it is has bound it, as far as the directory keeps others from changing it.
    if (found === undefined) return this.#judge(lstatSync(socketPath!).uid, socketPath!);
    return this.#judgeAnswer(found, socketPath!);
  }

  /** The same of a TCP connection. Where it leads to another machine, or nobody can tell, it may be. */
  whyNotAtPort(socket: Socket): string | undefined {
    const { remoteAddress, remotePort, localAddress } = socket;
    if (remoteAddress === undefined) return 'the connection ended at once';
    if (!isLoopback(remoteAddress) && remoteAddress !== localAddress) return undefined;
    const found = userIfKnown(socket);
    if (found === undefined || found.place === 'elsewhere' || found.place === 'cannot-ask') return undefined;
    return this.#judgeAnswer(found, `port ${remotePort}`);
  }

  /** Why a file that says where agents are is not to be believed; undefined if it may be. */
  whyNotWrittenByAgent(owner: number, path: string): string | undefined {
    return this.#judge(owner, path, 'belongs to');
  }

  #judgeAnswer({ place, uid, why }: PeerUser, where: string): string | undefined {
    if (place === 'known') return this.#judge(uid, where);
    if (this.allowed() === undefined) return undefined;
    return `it cannot be told who listens at ${where} (${why}): set agentUids to "any" (RINGSIDE_AGENT_UIDS) if that does not matter`;
  }

  #judge(uid: number, where: string, verb = 'is listened on by'): string | undefined {
    const allowed = this.allowed();
    if (allowed === undefined || allowed.includes(uid)) return undefined;
    return notTheAgent(uid, where, verb);
  }
}

/** In the words that the addon uses, too (native/app/app_link.cc). */
function notTheAgent(uid: number, where: string, verb: string): string {
  return `${where} ${verb} uid ${uid}, whom this application does not take for its agent: name it in agentUids (RINGSIDE_AGENT_UIDS) if it is`;
}

/** Undefined where that cannot be asked: without the addon, mostly. */
function userIfKnown(socket: Socket): PeerUser | undefined {
  try {
    return userBehind(socket);
  } catch {
    return undefined;
  }
}

/** The owner of a directory in which nobody else may write, root aside. */
function soleWriter(directory: string): number | undefined {
  const found = statSync(directory, { throwIfNoEntry: false });
  return found !== undefined && (found.mode & groupOrOthersMayWrite) === 0 ? found.uid : undefined;
}

function isLoopback(address: string): boolean {
  return /^(::ffff:)?127\./.test(address) || address === '::1';
}
