// The frames of streamed bodies (docs/wire-format.md, "Streamed bodies"): writing the fixed parts of chunks and credits,
// and the rule that a chunk must keep. Links use it in both directions; which stream a frame belongs to, and whether
// credit allows it, is theirs to know.
import { Flag, FrameType, writeFixed } from './frame.js';
import type { Frame } from './frame.js';

/** What distinguishes the chunks of a body: whose it is, and of which request. */
export interface StreamId {
  /** True for the body of the response, false for that of the request. */
  readonly reply: boolean;
  readonly idLo: number;
  readonly idHi: number;
}

/** Writes the fixed part of a chunk with `bodyLength` body bytes at `at`, where 32 bytes of room are. */
export function writeChunk(
  bytes: Uint8Array,
  at: number,
  { reply, idLo, idHi }: StreamId,
  bodyLength: number,
  last: boolean,
): void {
  const flags = (last ? 0 : Flag.more) | (reply ? Flag.reply : 0);
  writeFixed(bytes, at, FrameType.chunk, flags, 0, 0, 0, bodyLength, idLo, idHi, 0, 0);
}

/** Writes the fixed part of the chunk that breaks a response off: `headerLength` bytes of header follow, no body. */
export function writeBreakOff(
  bytes: Uint8Array,
  at: number,
  { idLo, idHi }: StreamId,
  status: number,
  headerLength: number,
): void {
  writeFixed(bytes, at, FrameType.chunk, Flag.reply, status, 0, headerLength, 0, idLo, idHi, 0, 0);
}

/** Writes a credit frame, which is only a fixed part: the sender of the body may send `grantBytes` more. */
export function writeCredit(
  bytes: Uint8Array,
  at: number,
  { reply, idLo, idHi }: StreamId,
  grantBytes: number,
): void {
  writeFixed(bytes, at, FrameType.credit, reply ? Flag.reply : 0, 0, 0, 0, 0, idLo, idHi, 0, grantBytes);
}

/** A key for tables of streams: request ids use all 64 bits, which no number holds. */
export function streamKey(idLo: number, idHi: number): string {
  return `${idHi}.${idLo}`;
}

/** Whether a chunk or credit concerns the body of the response. */
export function isReply(frame: Frame): boolean {
  return (frame.flags & Flag.reply) !== 0;
}

/** Whether the body goes on behind this frame. */
export function hasMore(frame: Frame): boolean {
  return (frame.flags & Flag.more) !== 0;
}

/** Why a chunk is a protocol error whatever it belongs to, or undefined. */
export function checkChunk(frame: Frame): string | undefined {
  return hasMore(frame) && frame.bodyEnd === frame.headerEnd
    ? 'a chunk without body bytes that is not the last'
    : undefined;
}
