// The app's end of a shared-memory link, for the SDK's transport. The handshake and the ring are native
// (native/app); this file only gives the port its types. Frames go in and come out whole; one call per batch in each
// direction, no work per message. The SDK owns all time limits: a link that does not open in time is closed by it.
import { loadAddon } from './load.js';

/** What a link reports. All callbacks run from the event loop, never from inside a call to the link. */
export interface AppLinkEvents {
  /**
   * The agent's whole welcome frame, at most once. Status 0 and value > 0: the ring is in use from now on, write.
   * Any other: onClose follows (value 0: the agent wants frames over a socket; status: it refused, the header says why).
   */
  onOpen(welcome: Buffer): void;
  /**
   * Whole frames, back to back, in `slab[start, end)`. Unless all of them are chunks the bytes are never reused, so views into
   * them may be kept (each keeps its slab of 256 KiB alive). One call per batch and turn of the event loop.
   */
  onData(slab: Buffer, start: number, end: number): void;
  /** After a `write` that took less than it was given, or a `hasRoom` that said no: there is room again. */
  onSpace(): void;
  /** Exactly once, last. What the peer published before it went away has been delivered by then. */
  onClose(reason: string): void;
}

/** An open or opening link. It keeps the event loop alive until closed, unless `unref` was called. */
export interface AppLink {
  /**
   * Sends the whole frames in `bytes[start, end)`, waking the agent at most once.
   *
   * @returns bytes taken, always a whole number of frames; less than given when the ring is full (onSpace follows) and
   *   0 while the link is not open.
   * @throws RangeError when start and end do not lie in bytes, TypeError when there are no whole valid frames in between
   */
  write(bytes: Uint8Array, start: number, end: number): number;
  /** Whether there is room for a frame of any size. If not, onSpace follows once there is, or the link is not open. */
  hasRoom(): boolean;
  /**
   * Sends one frame that lies in two pieces, its fixed part with the header and its body, and wakes the agent at once.
   *
   * @returns false, having sent nothing, if there is no room for it or the link is not open
   * @throws TypeError when the two are no whole valid frame
   */
  writeFrame(prefix: Uint8Array, body: Uint8Array): boolean;
  /** Closes the link; onClose follows. Further calls do nothing. */
  close(): void;
  /** Lets the link keep the event loop alive (the default). */
  ref(): void;
  /** Lets the process end although the link is open. */
  unref(): void;
}

/**
 * Connects to an agent's unix socket and asks for shared memory. Never fails synchronously for reasons of the peer
 * or the path: those come as onClose.
 *
 * @param hello - the whole hello frame; its `value` is the ring capacity wanted
 * @param agentUids - who may listen there; whoever it is if absent. Anybody else is told nothing.
 * @throws Error when the addon is not available
 */
export function openAppLink(
  socketPath: string,
  hello: Uint8Array,
  events: AppLinkEvents,
  agentUids?: readonly number[],
): AppLink {
  return new (loadAddon().AppLink)(socketPath, hello, events, agentUids);
}

/** Reason of onClose when the agent's backlog is full: trying again soon is sensible. */
export const AGENT_BUSY_REASON = 'agent busy: its backlog is full';

/**
 * Loads the addon without opening a link, for callers that must know beforehand whether links are possible here.
 *
 * @throws Error with the reason why they are not
 */
export function requireAppLinks(): void {
  loadAddon();
}
