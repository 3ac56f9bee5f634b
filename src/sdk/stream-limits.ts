// Bounds of streamed bodies that the application sets, for one link. The other end has its own and does not have to
// know these: it is told in words when it meets one.

/** See {@link LinkLimits}; the same numbers, without gaps. */
export interface StreamLimits {
  /** Longest body taken from the other side. */
  readonly maxBodyBytes: number;
  /** Streamed bodies at once in each direction. */
  readonly maxStreams: number;
  /** Bytes of bodies being put together, and of streamed answers not yet sent, each. */
  readonly maxStreamBytes: number;
}
