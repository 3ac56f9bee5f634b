// Whose process listens at the other end of a connection that this one made, as the kernel tells it (native/fd/peer_user.h). For the SDK, which asks before
// it says anything to an agent; and for `ringside doctor`.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { errorText } from '../base/errors.js';
import { loadAddon } from './load.js';

/**
 * `known`: on this machine, and `uid` is its user; `unknown`: on this machine, but not to be told, and `why`; `elsewhere`: on another machine; `cannot-ask`:
 * this kernel answers no such question.
 */
export interface PeerUser {
  readonly place: 'known' | 'unknown' | 'elsewhere' | 'cannot-ask';
  readonly uid: number;
  readonly why: string;
}

/**
 * Who listens where a connected socket leads to: a unix socket, or one of TCP.
 * @throws Error when the addon is not available, or when this Node does not show a socket's descriptor
 */
export function userBehind(socket: Socket): PeerUser {
  const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) throw new Error('the socket does not show its descriptor');
  return (loadAddon()['listeningUser'] as (fd: number) => PeerUser)(fd);
}

/** Why this machine does not tell who is at the other end of a TCP connection, asked of one of this process's own; undefined if it does. */
export async function whyPeersAreUnknown(): Promise<string | undefined> {
  const server = createServer();
  let socket: Socket | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    const { port } = server.address() as AddressInfo;
    await new Promise<void>((resolve, reject) => {
      socket = connect({ port, host: '127.0.0.1' }, resolve).once('error', reject);
    });
    const { place, why } = userBehind(socket!);
    return place === 'known' ? undefined : why;
  } catch (error) {
    return errorText(error);
  } finally {
    socket?.destroy();
    server.close();
  }
}
