// The channel over Node's sockets: the agent's unix socket, TCP to an agent or to another app, and connections
// that a direct-mode server accepted. While the kernel has not taken the last write, no further one is made:
// the link keeps its bytes, and so knows which frames never left.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Channel, ChannelEvents, ChannelKind, Gather } from './channel.js';

/** Time that the last bytes have to leave after close(), in milliseconds. */
const lingerMs = 1000;

/** Why whoever listens is not to be spoken to; undefined if he is. Asked once, when the socket is connected. */
export type WhyNot = (socket: Socket) => string | undefined;

class SocketChannel implements Channel {
  #open: boolean;
  #refused = false;
  #closed = false;
  #failure = '';

  constructor(
    readonly kind: ChannelKind,
    readonly socket: Socket,
    readonly events: ChannelEvents,
    hello?: Uint8Array,
    whyNot?: WhyNot,
  ) {
    this.#open = !socket.connecting;
    socket.setNoDelay(true);
    socket.on('connect', () => this.#connected(hello, whyNot));
    socket.on('data', (chunk: Buffer) => events.onData(chunk, 0, chunk.length));
    socket.on('error', (error) => (this.#failure = error.message));
    socket.on('end', () => (this.#failure ||= 'closed by the other side'));
    socket.on('close', () => this.#ended());
  }

  get holdsBuffer(): boolean {
    return this.socket.writableLength > 0;
  }

  write(bytes: Buffer, start: number, end: number): number {
    if (!this.gather.ready()) return 0;
    this.socket.write(bytes.subarray(start, end), this.#written);
    return end - start;
  }

  readonly gather: Gather = {
    // One system call for all that leaves in a turn.
    batchFrames: Infinity,
    ready: () => {
      const { socket } = this;
      if (this.#open && !this.#closed && socket.writable && socket.writableLength === 0) return true;
      this.#refused = true;
      return false;
    },
    write: (frames) => {
      const { socket } = this;
      const pieces = frames.flatMap(({ prefix, body }) => [prefix, body]);
      const last = pieces.pop()!;
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.write(last, this.#written);
      socket.uncork();
    },
  };

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#open) {
      this.socket.destroy();
      return;
    }
    this.socket.end();
    // The other side may never read what is left, nor close.
    setTimeout(() => this.socket.destroy(), lingerMs).unref();
  }

  #connected(hello: Uint8Array | undefined, whyNot: WhyNot | undefined): void {
    if (this.#closed) return;
    const { socket } = this;
    try {
      const reason = whyNot?.(socket);
      if (reason !== undefined) throw new Error(reason);
    } catch (error) {
      socket.destroy(error as Error);
      return;
    }
    if (hello !== undefined) socket.write(hello, this.#written);
    this.#open = true;
    this.#offerSpace();
  }

  readonly #written = (error?: Error | null): void => {
    // A failed write empties the queue too; what still waits must then stay provably unsent.
    if (this.#refused && !error) this.#offerSpace();
  };

  #offerSpace(): void {
    if (this.#closed || this.socket.writableLength > 0) return;
    this.#refused = false;
    this.events.onSpace();
  }

  #ended(): void {
    const reason = this.#failure || 'closed';
    this.#closed = true;
    this.events.onClose(reason);
  }
}

/** Connects to a unix socket and says `hello`, unless there is a reason not to. */
export function openUnixChannel(
  path: string,
  hello: Uint8Array,
  events: ChannelEvents,
  whyNot?: WhyNot,
): Channel {
  return new SocketChannel('unix', connect({ path }), events, hello, whyNot);
}

/** Connects over TCP and says `hello`, unless there is a reason not to. */
export function openTcpChannel(
  { host, port }: { host: string; port: number },
  hello: Uint8Array,
  events: ChannelEvents,
  kind: 'tcp' | 'fallback' = 'tcp',
  whyNot?: WhyNot,
): Channel {
  return new SocketChannel(kind, connect({ host, port }), events, hello, whyNot);
}

/** Takes over a connection that a listener accepted. */
export function acceptSocketChannel(socket: Socket, events: ChannelEvents): Channel {
  return new SocketChannel('tcp', socket, events);
}
