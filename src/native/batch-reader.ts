// Reads little-endian scalars and length-prefixed strings from a batch that the engine wrote; the counterpart of
// native/engine/byte_stream.h. Reading past the end throws, as Buffer does.
import type { Buffer } from 'node:buffer';

export class BatchReader {
  readonly #from: Buffer;
  #at = 0;

  constructor(from: Buffer) {
    this.#from = from;
  }
  get left(): number {
    return this.#from.length - this.#at;
  }
  u8(): number {
    return this.#from.readUInt8(this.#move(1));
  }
  u16(): number {
    return this.#from.readUInt16LE(this.#move(2));
  }
  u32(): number {
    return this.#from.readUInt32LE(this.#move(4));
  }
  /** Counters and handles, which stay below 2^53. */
  u64(): number {
    const at = this.#move(8);
    return this.#from.readUInt32LE(at) + this.#from.readUInt32LE(at + 4) * 2 ** 32;
  }
  f64(): number {
    return this.#from.readDoubleLE(this.#move(8));
  }
  bytes(): Buffer {
    const length = this.u32();
    const at = this.#move(length);
    return this.#from.subarray(at, at + length);
  }
  text(): string {
    return this.bytes().toString('utf8');
  }
  /** An enumeration by its index. */
  oneOf<const T>(names: readonly T[]): T {
    const index = this.u8();
    const name = names[index];
    if (name === undefined) throw new Error(`the engine sent ${index} where it has ${names.length} choices`);
    return name;
  }
  #move(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#from.length) throw new Error('the engine sent a batch that ends too early');
    this.#at = at + bytes;
    return at;
  }
}
