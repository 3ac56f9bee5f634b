// The fixed part of a frame: its types, flags, checks, reading and writing. The parser, the links and the tests
// build on it. A frame points into the bytes it came in and copies nothing; numbers are read byte by byte, which
// V8 turns into plain loads. Request ids stay two 32-bit halves, because they may use all 64 bits.
import { Buffer } from 'node:buffer';
import { maxStatusCode } from '../base/status.js';
import { fixedBytes, maxFrameBodyBytes, maxHeaderBytes } from './limits.js';

export const frameMagic = 0x52f5;
export const protocolVersion = 1;

/** Frame types of docs/wire-format.md. */
export const FrameType = {
  request: 1,
  response: 2,
  oneWay: 3,
  chunk: 4,
  credit: 5,
  cancel: 6,
  ping: 7,
  pong: 8,
  goAway: 9,
  hello: 10,
  welcome: 11,
  goAwayAck: 12,
} as const;

/** Flag bits; unknown ones are ignored and passed on. */
export const Flag = { more: 0x01, notRun: 0x02, token: 0x04, reply: 0x08, waitForReady: 0x10 } as const;

const emptyBytes = Buffer.alloc(0);

/** One frame. `header` and `body` are slices of the bytes it was read from. */
export class Frame {
  constructor(
    readonly type: number,
    readonly flags: number,
    readonly status: number,
    readonly attempt: number,
    readonly idLo: number,
    readonly idHi: number,
    readonly timeoutMs: number,
    readonly value: number,
    readonly bytes: Buffer,
    readonly headerStart: number,
    readonly headerEnd: number,
    readonly bodyEnd: number,
  ) {}

  get header(): Buffer {
    return this.headerStart === this.headerEnd
      ? emptyBytes
      : this.bytes.subarray(this.headerStart, this.headerEnd);
  }

  get body(): Buffer {
    return this.headerEnd === this.bodyEnd ? emptyBytes : this.bytes.subarray(this.headerEnd, this.bodyEnd);
  }
}

/** Reads an unsigned 32-bit little-endian number; the caller has checked the bounds. */
export function loadU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)) + bytes[at + 3]! * 0x1000000) >>> 0;
}

/** Writes an unsigned 32-bit little-endian number; the caller has made room. */
export function storeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Why the 32 bytes at `at` are a protocol error, or undefined if they are a valid fixed part. */
export function checkFixed(bytes: Uint8Array, at: number): string | undefined {
  if (bytes[at] !== 0xf5 || bytes[at + 1] !== 0x52) return 'wrong magic';
  if (bytes[at + 2] !== protocolVersion) return `unsupported protocol version ${bytes[at + 2]}`;
  const type = bytes[at + 3]!;
  if (type < FrameType.request || type > FrameType.goAwayAck) return `unknown frame type ${type}`;
  if (bytes[at + 5]! > maxStatusCode) return `unknown status ${bytes[at + 5]}`;
  if (bytes[at + 7] !== 0) return 'reserved byte is not 0';
  const headerLength = loadU32(bytes, at + 8);
  if (headerLength > maxHeaderBytes)
    return `header of ${headerLength} bytes is over the limit of ${maxHeaderBytes}`;
  const bodyLength = loadU32(bytes, at + 12);
  if (bodyLength > maxFrameBodyBytes)
    return `body of ${bodyLength} bytes is over the limit of ${maxFrameBodyBytes}`;
  return undefined;
}

/** Length of the whole frame whose (checked) fixed part stands at `at`. */
export function frameLength(bytes: Uint8Array, at: number): number {
  return fixedBytes + loadU32(bytes, at + 8) + loadU32(bytes, at + 12);
}

/** The frame at `at`; its fixed part is checked and the whole of it is there. */
export function readFrame(bytes: Buffer, at: number): Frame {
  const headerStart = at + fixedBytes;
  const headerEnd = headerStart + loadU32(bytes, at + 8);
  return new Frame(
    bytes[at + 3]!,
    bytes[at + 4]!,
    bytes[at + 5]!,
    bytes[at + 6]!,
    loadU32(bytes, at + 16),
    loadU32(bytes, at + 20),
    loadU32(bytes, at + 24),
    loadU32(bytes, at + 28),
    bytes,
    headerStart,
    headerEnd,
    headerEnd + loadU32(bytes, at + 12),
  );
}

/** Writes a fixed part at `at`. Lengths and codes are the caller's to have checked. */
export function writeFixed(
  bytes: Uint8Array,
  at: number,
  type: number,
  flags: number,
  status: number,
  attempt: number,
  headerLength: number,
  bodyLength: number,
  idLo: number,
  idHi: number,
  timeoutMs: number,
  value: number,
): void {
  bytes[at] = 0xf5;
  bytes[at + 1] = 0x52;
  bytes[at + 2] = protocolVersion;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  bytes[at + 5] = status;
  bytes[at + 6] = attempt;
  bytes[at + 7] = 0;
  storeU32(bytes, at + 8, headerLength);
  storeU32(bytes, at + 12, bodyLength);
  storeU32(bytes, at + 16, idLo);
  storeU32(bytes, at + 20, idHi);
  storeU32(bytes, at + 24, timeoutMs);
  storeU32(bytes, at + 28, value);
}

/** What a frame is made of; everything but the type may be left out. */
export interface FrameFields {
  type: number;
  flags?: number;
  status?: number;
  attempt?: number;
  idLo?: number;
  idHi?: number;
  timeoutMs?: number;
  value?: number;
  header?: Uint8Array;
  body?: Uint8Array;
}

/** A whole frame in a buffer of its own: for the rare frames (hello, welcome) and for tests. */
export function encodeFrame(fields: FrameFields): Buffer {
  const header = fields.header ?? emptyBytes;
  const body = fields.body ?? emptyBytes;
  if (header.length > maxHeaderBytes)
    throw new RangeError(`header of ${header.length} bytes is over ${maxHeaderBytes}`);
  if (body.length > maxFrameBodyBytes)
    throw new RangeError(`body of ${body.length} bytes is over ${maxFrameBodyBytes}`);
  const bytes = Buffer.allocUnsafeSlow(fixedBytes + header.length + body.length);
  writeFixed(
    bytes,
    0,
    fields.type,
    fields.flags ?? 0,
    fields.status ?? 0,
    fields.attempt ?? 0,
    header.length,
    body.length,
    fields.idLo ?? 0,
    fields.idHi ?? 0,
    fields.timeoutMs ?? 0,
    fields.value ?? 0,
  );
  bytes.set(header, fixedBytes);
  bytes.set(body, fixedBytes + header.length);
  return bytes;
}
