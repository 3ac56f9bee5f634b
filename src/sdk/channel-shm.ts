// The channel over shared-memory rings. The addon does handshake, rings and doorbells (src/native/app-link.ts);
// this file only gives them the face of a channel. Loading may fail (no addon for this platform), which is one of
// the reasons for which the ladder climbs down, so it is loaded late and the reason is kept.
import { errorText } from '../base/errors.js';
import type { AppLink, AppLinkEvents, openAppLink } from '../native/app-link.js';
import type { Channel, ChannelEvents, Gather } from './channel.js';

/** The addon's way to open a link; tests give another. */
export type OpenAppLink = typeof openAppLink;

/** Loads the addon. Rejects with the reason why there are no rings here, which never changes in a process. */
export async function loadOpenAppLink(): Promise<OpenAppLink> {
  if (process.platform !== 'linux') throw new Error(`shared memory needs Linux, this is ${process.platform}`);
  try {
    const native = await import('../native/app-link.js');
    native.requireAppLinks();
    return native.openAppLink;
  } catch (error) {
    throw new Error(`the native addon is missing: ${errorText(error)}`, { cause: error });
  }
}

class ShmChannel implements Channel {
  readonly kind = 'shm';
  readonly holdsBuffer = false;
  #open = false;
  #closed = false;
  readonly #link: AppLink;

  constructor(
    open: OpenAppLink,
    path: string,
    hello: Uint8Array,
    events: ChannelEvents,
    agentUids: readonly number[] | undefined,
  ) {
    const reports: AppLinkEvents = {
      onOpen: (welcome) => {
        this.#open = true;
        events.onData(welcome, 0, welcome.length);
        if (!this.#closed) events.onSpace();
      },
      onData: (slab, start, end) => events.onData(slab, start, end),
      onSpace: () => events.onSpace(),
      onClose: (reason) => {
        this.#closed = true;
        events.onClose(reason);
      },
    };
    this.#link = open(path, hello, reports, agentUids);
  }

  write(bytes: Buffer, start: number, end: number): number {
    return this.#open && !this.#closed ? this.#link.write(bytes, start, end) : 0;
  }

  readonly gather: Gather = {
    // The agent works on one frame while the next is copied.
    batchFrames: 1,
    ready: () => this.#open && !this.#closed && this.#link.hasRoom(),
    write: (frames) => {
      for (const { prefix, body } of frames) this.#link.writeFrame(prefix, body);
    },
  };

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link.close();
  }
}

/** Asks the agent at a unix socket for rings, if one of `agentUids` listens there. The welcome is the channel's first data. */
export function openShmChannel(
  open: OpenAppLink,
  path: string,
  hello: Uint8Array,
  events: ChannelEvents,
  agentUids?: readonly number[],
): Channel {
  return new ShmChannel(open, path, hello, events, agentUids);
}
