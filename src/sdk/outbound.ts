// The bytes of one link that wait for its channel. All frames written during one turn of the loop are encoded
// here back to back and leave in one write. Positions in the stream only grow: a call whose frame ends behind
// `handed` was provably never given to the transport, which is what `mayHaveRun === false` rests on.
import { Buffer } from 'node:buffer';
import { FrameType, storeU32 } from '../protocol/frame.js';
import type { Channel } from './channel.js';

const startBytes = 64 * 1024;
const keepBytes = 1024 * 1024;

/** A growing buffer of whole frames. Its user bounds it by looking at `size` before it writes. */
export class Outbound {
  /** Write frames here, at the position that reserve() answered. */
  bytes = Buffer.allocUnsafeSlow(startBytes);
  #start = 0;
  #end = 0;
  /** Position in the stream of `bytes[0]`. */
  #base = 0;

  /** Bytes that wait. */
  get size(): number {
    return this.#end - this.#start;
  }

  /** Position in the stream up to which the channel has taken everything. */
  get handed(): number {
    return this.#base + this.#start;
  }

  /** Position in the stream behind the last frame. */
  get position(): number {
    return this.#base + this.#end;
  }

  /** Makes room for `count` bytes, all of which the caller fills; answers where in `bytes`. */
  reserve(count: number): number {
    if (this.#end + count > this.bytes.length) this.#makeRoom(count);
    const at = this.#end;
    this.#end += count;
    return at;
  }

  /** Gives the channel what it takes; answers true if nothing waits any more. */
  flush(channel: Channel): boolean {
    if (this.#start === this.#end) return true;
    this.#start += channel.write(this.bytes, this.#start, this.#end);
    if (this.#start < this.#end) return false;
    this.#base += this.#end;
    this.#start = 0;
    this.#end = 0;
    if (channel.holdsBuffer || this.bytes.length > keepBytes) this.bytes = Buffer.allocUnsafeSlow(startBytes);
    return true;
  }

  /**
   * Turns a request whose frame still waits into a cancel, so that it can never run; its length stays. Answers
   * false if the channel has it already.
   */
  recall(frameStart: number): boolean {
    if (frameStart < this.handed) return false;
    const at = frameStart - this.#base;
    this.bytes[at + 3] = FrameType.cancel;
    storeU32(this.bytes, at + 24, 0);
    return true;
  }

  #makeRoom(count: number): void {
    const size = this.size;
    let capacity = this.bytes.length;
    while (capacity < size + count) capacity *= 2;
    const source = this.bytes;
    // Moving to the front pays only where half is free; else growing keeps the copies amortised.
    if (capacity === source.length && size > capacity / 2) capacity *= 2;
    const target = capacity === source.length ? source : Buffer.allocUnsafeSlow(capacity);
    source.copy(target, 0, this.#start, this.#end);
    this.bytes = target;
    this.#base += this.#start;
    this.#start = 0;
    this.#end = size;
  }
}
