/**
 * Bounds the connections of an HTTP server so that nobody who opens many and says little keeps others from an answer. Beyond the bound the
 * connection that matters least goes: one without a whole request before one whose request is being answered, of the address that holds the
 * most, the oldest first. Used by guarded-server.ts.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface Held {
  readonly socket: Socket;
  readonly address: string;
  /** Of the request that is being answered. */
  request: IncomingMessage | undefined;
}

/** Keeps the connections of `server` at `max`; new ones take the place of others. */
export function shareConnections(server: Server, max: number): void {
  // In the order in which they came.
  const held = new Map<Socket, Held>();
  server.on('connection', (socket: Socket) => {
    held.set(socket, { socket, address: socket.remoteAddress ?? '', request: undefined });
    socket.once('close', () => held.delete(socket));
    if (held.size > max) leastOf([...held.values()])?.socket.destroy();
  });
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const holder = held.get(request.socket);
    if (holder === undefined) return;
    holder.request = request;
    response.once('close', () => {
      if (holder.request === request) holder.request = undefined;
    });
  });
}

/** Whose end harms least; the newest is never it as long as there are others. */
function leastOf(all: readonly Held[]): Held | undefined {
  const older = all.slice(0, -1);
  const isIdle = ({ request }: Held): boolean => request === undefined || !request.complete;
  const candidates = older.some(isIdle) ? older.filter(isIdle) : older;
  const perAddress = new Map<string, number>();
  for (const { address } of all) perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
  const countOf = ({ address }: Held): number => perAddress.get(address) ?? 0;
  const most = candidates.reduce((highest, one) => Math.max(highest, countOf(one)), 0);
  return candidates.find((one) => countOf(one) === most);
}
