// Cuts a byte stream into frames. Links push what their channel brings; a frame that lies whole in what is pushed is
// a slice of it, one that spans what was pushed is assembled in a buffer of its own. What must stay true: at most one
// partial frame is held (under 82 KB), nothing is allocated for a length before that length is checked, and
// after a protocol error or stop() no further frame comes out.
import { Buffer } from 'node:buffer';
import { FrameType, checkFixed, frameLength, readFrame } from './frame.js';
import type { Frame } from './frame.js';
import { fixedBytes, maxFrameBytes } from './limits.js';

/** Incremental parser for one direction of one link. */
export class FrameParser {
  /** The partial frame; until its fixed part is whole, `#partial` is the 32-byte scratch. */
  #partial: Buffer | undefined;
  #filled = 0;
  readonly #fixed = Buffer.alloc(fixedBytes);
  /** For chunks, whose receivers copy them anyway: a buffer for each would be most of what a large body allocates. */
  #chunk: Buffer | undefined;
  #ended: string | undefined;

  /**
   * Takes `bytes[start, end)` and hands every frame that is now whole to `onFrame`, in order. The frames keep
   * pointing into `bytes`: the caller must not reuse it. Only a chunk is valid no longer than `onFrame` runs.
   *
   * @returns the reason of a protocol error, after which the link must be closed; else undefined
   */
  push(bytes: Buffer, onFrame: (frame: Frame) => void, start = 0, end = bytes.length): string | undefined {
    let at = start;
    if (this.#partial !== undefined) at = this.#complete(bytes, at, end, onFrame);
    while (this.#ended === undefined && end - at >= fixedBytes) {
      const problem = checkFixed(bytes, at);
      if (problem !== undefined) return (this.#ended = problem);
      const length = frameLength(bytes, at);
      if (end - at < length) break;
      onFrame(readFrame(bytes, at));
      at += length;
    }
    if (this.#ended === undefined && at < end) this.#keep(bytes, at, end);
    return this.#ended;
  }

  /** No frame comes out any more, not even from the chunk being pushed; `push` answers `reason`. */
  stop(reason: string): void {
    this.#ended ??= reason;
    this.#partial = undefined;
  }

  /** Bytes of a frame that is not whole yet. */
  get partialBytes(): number {
    return this.#partial === undefined ? 0 : this.#filled;
  }

  #complete(bytes: Buffer, from: number, end: number, onFrame: (frame: Frame) => void): number {
    let at = this.#fill(bytes, from, end);
    if (this.#partial === this.#fixed && this.#filled === fixedBytes) {
      const problem = checkFixed(this.#fixed, 0);
      if (problem !== undefined) {
        this.stop(problem);
        return end;
      }
      this.#partial = this.#wholeFrameBuffer(this.#fixed, 0);
      this.#fixed.copy(this.#partial);
      at = this.#fill(bytes, at, end);
    }
    const partial = this.#partial;
    if (partial !== undefined && partial !== this.#fixed && this.#filled === partial.length) {
      this.#partial = undefined;
      onFrame(readFrame(partial, 0));
    }
    return at;
  }

  #fill(bytes: Buffer, from: number, end: number): number {
    const partial = this.#partial!;
    const taken = Math.min(end - from, partial.length - this.#filled);
    bytes.copy(partial, this.#filled, from, from + taken);
    this.#filled += taken;
    return from + taken;
  }

  #keep(bytes: Buffer, at: number, end: number): void {
    this.#partial = end - at < fixedBytes ? this.#fixed : this.#wholeFrameBuffer(bytes, at);
    this.#filled = 0;
    this.#fill(bytes, at, end);
  }

  #wholeFrameBuffer(checked: Buffer, at: number): Buffer {
    const length = frameLength(checked, at);
    if (checked[at + 3] !== FrameType.chunk) return Buffer.allocUnsafeSlow(length);
    this.#chunk ??= Buffer.allocUnsafeSlow(maxFrameBytes);
    return this.#chunk.subarray(0, length);
  }
}
