// Protobuf's wire format at the byte level, exactly as strict as docs/wire-format.md: the scanner reads tags,
// lengths and skips unknown fields; the writers append string fields. Used by header.ts and header-patch.ts
// only. protobufjs is not used here because it accepts what the rules call malformed (wrong wire types,
// groups, overlong varints, broken UTF-8).
import { isUtf8 } from 'node:buffer';

/** A header that breaks the rules of docs/wire-format.md. The link stays open; the request is refused. */
export class MalformedHeader extends Error {
  override readonly name = 'MalformedHeader';
}

/** Throws MalformedHeader; a function of its own keeps the scanners small enough to inline. */
export function malformed(reason: string): never {
  throw new MalformedHeader(reason);
}

/** A cursor over `bytes[at, end)`. After each read `at` stands behind what was read. */
export class WireScanner {
  constructor(
    readonly bytes: Buffer,
    public at: number,
    readonly end: number,
  ) {}

  /** A varint that must fit 32 bits: a tag or a length. Up to ten bytes, as long as the value fits. */
  varint32(): number {
    const bytes = this.bytes;
    const limit = Math.min(this.end, this.at + 10);
    let value = 0;
    let shift = 0;
    for (let at = this.at; at < limit; at += 1, shift += 7) {
      const byte = bytes[at]!;
      const bits = byte & 0x7f;
      if (shift < 28) value |= bits << shift;
      else if (shift === 28 && bits <= 0x0f) value |= bits << 28;
      else if (bits !== 0) malformed('a varint overflows 32 bits');
      if (byte < 0x80) {
        this.at = at + 1;
        return value >>> 0;
      }
    }
    return malformed(limit === this.end ? 'a varint is cut off' : 'a varint is longer than 10 bytes');
  }

  /** Reads a length and answers the end of the bytes it announces, which lies within the header. */
  lengthEnd(): number {
    const length = this.varint32();
    if (length > this.end - this.at) malformed('a length runs beyond the end');
    return this.at + length;
  }

  /** Skips the value of an unknown field. */
  skip(wireType: number): void {
    if (wireType === 2) this.at = this.lengthEnd();
    else if (wireType === 0) this.#skipVarint();
    else if (wireType === 1) this.#skipBytes(8);
    else if (wireType === 5) this.#skipBytes(4);
    else malformed(`wire type ${wireType}`);
  }

  /** A string field's value: valid UTF-8 of at most `maxBytes`. */
  string(maxBytes: number, name: string): string {
    const end = this.lengthEnd();
    const start = this.at;
    if (end - start > maxBytes) malformed(`${name} is over ${maxBytes} bytes`);
    this.at = end;
    return utf8(this.bytes, start, end, name);
  }

  #skipVarint(): void {
    const limit = Math.min(this.end, this.at + 10);
    for (let at = this.at; at < limit; at += 1) {
      if (this.bytes[at]! < 0x80) {
        this.at = at + 1;
        return;
      }
    }
    malformed(limit === this.end ? 'a varint is cut off' : 'a varint is longer than 10 bytes');
  }

  #skipBytes(count: number): void {
    if (count > this.end - this.at) malformed('a fixed-size value is cut off');
    this.at += count;
  }
}

/** Decodes UTF-8 strictly. Names are nearly always short ASCII, which needs no call into native code to check. */
function utf8(bytes: Buffer, start: number, end: number, name: string): string {
  let at = start;
  while (at < end && bytes[at]! < 0x80) at += 1;
  if (at === end) return bytes.toString('latin1', start, end);
  if (!isUtf8(bytes.subarray(start, end))) malformed(`${name} is not valid UTF-8`);
  return bytes.toString('utf8', start, end);
}

/** Bytes that a varint below 2^32 takes. */
export function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

/** Writes a varint below 2^32 and answers the position behind it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Bytes that a string field (number 1 to 15) takes, tag and length included. */
export function stringFieldBytes(valueBytes: number): number {
  return 1 + varintBytes(valueBytes) + valueBytes;
}

/** Writes tag, length and UTF-8 bytes of a string field (number 1 to 15); the caller has made room. */
export function writeStringField(
  bytes: Buffer,
  at: number,
  field: number,
  value: string,
  valueBytes: number,
): number {
  bytes[at] = (field << 3) | 2;
  const start = writeVarint(bytes, at + 1, valueBytes);
  if (valueBytes === value.length && valueBytes < 24) {
    for (let i = 0; i < valueBytes; i += 1) bytes[start + i] = value.charCodeAt(i);
    return start + valueBytes;
  }
  return start + bytes.write(value, start, valueBytes, 'utf8');
}
