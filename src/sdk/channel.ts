// A channel carries the bytes of one link: a ring in shared memory, a unix socket or TCP. Links know only this
// interface, so the codec and everything above it is the same on all of them. A channel sends its own `hello`
// (or, accepting, none) before anything else.

/** Kinds of channels, which are the names of the transports; `fallback` is TCP to another agent of the same app. */
export type ChannelKind = 'shm' | 'unix' | 'tcp' | 'fallback';

/** What a channel tells its link. Nothing comes after onClose, and onClose comes once. */
export interface ChannelEvents {
  /** Bytes came. They are not reused by the channel, so that frames may keep slices of them; only chunks may not. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** After a write that took less than all (or came too early): try again. */
  onSpace(): void;
  /** The channel is gone, or could never be opened. */
  onClose(reason: string): void;
}

export interface Channel {
  readonly kind: ChannelKind;
  /**
   * Hands over whole frames `bytes[start, end)` and answers how many bytes of them were taken, counted in whole
   * frames. What was taken is out of the link's hands.
   */
  write(bytes: Buffer, start: number, end: number): number;
  readonly gather: Gather;
  /** True if the channel still reads from the buffer it was last given, so that it must not be reused. */
  readonly holdsBuffer: boolean;
  /** Ends the channel: what was taken is still sent where the transport can. */
  close(): void;
}

/** Sending frames that do not lie in one buffer, without copying them together first. */
export interface Gather {
  /** How many frames one write takes. */
  readonly batchFrames: number;
  /** Whether the channel takes a write now. If not, onSpace follows. */
  ready(): boolean;
  /** Hands over whole frames. The channel is ready, and they are out of the link's hands. */
  write(frames: readonly FrameParts[]): void;
}

/** A frame in two pieces: fixed part and header, and body. */
export interface FrameParts {
  readonly prefix: Uint8Array;
  readonly body: Uint8Array;
}

/** Opens a channel that reports to `events`, never before it has returned. */
export type OpenChannel = (events: ChannelEvents) => Channel;
