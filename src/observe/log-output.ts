/**
 * Where the log goes: lines are written to a descriptor by and by, one write at a time. A reader that is slow or a disk that is full holds up
 * nobody: lines wait, go out when they can, and are dropped when too many wait. Also the end of the process waits for nothing, which is why this is
 * not pino's own destination: that one ends the process when a disk is full, and tries for ever to write the rest.
 */
import { write, writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';

/** How long after a reader could not take more the next write is tried. */
const AGAIN_MS = 100;
/** How long the end of the process waits for such a reader. */
const LAST_MS = 1_000;
/** Characters of one write, about. */
const BATCH_CHARACTERS = 64 * 1024;

/** See the file's head. */
export class LogOutput implements DestinationStream {
  #lines: string[] = [];
  #waitingBytes = 0;
  /** What is being written, or is to be written next. */
  #batch: Uint8Array = Buffer.alloc(0);
  #state: 'idle' | 'writing' | 'pausing' | 'ended' = 'idle';

  /** @param maxWaitingBytes lines beyond this are dropped */
  constructor(
    private readonly fd: number,
    private readonly maxWaitingBytes: number,
  ) {
    process.once('exit', () => this.#writeRest());
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#state === 'ended' || this.#waitingBytes + bytes > this.maxWaitingBytes) return;
    this.#lines.push(line);
    this.#waitingBytes += bytes;
    if (this.#state === 'idle') this.#writeNext();
  }

  #writeNext(): void {
    this.#state = 'idle';
    if (!this.#fillBatch()) return;
    this.#state = 'writing';
    write(this.fd, this.#batch, (error, written) => {
      if (error === null) {
        this.#wrote(written);
        this.#writeNext();
      } else if (error.code === 'EAGAIN') {
        this.#state = 'pausing';
        setTimeout(() => this.#writeNext(), AGAIN_MS).unref();
      } else if (error.code === 'EPIPE') {
        // Nobody will ever read it.
        this.#state = 'ended';
        this.#lines = [];
      } else {
        // Such as a full disk: the next line tries again.
        this.#state = 'idle';
      }
    });
  }

  /** @returns whether there is something to write */
  #fillBatch(): boolean {
    if (this.#batch.length > 0) return true;
    let characters = 0;
    let count = 0;
    for (const line of this.#lines) {
      if (characters >= BATCH_CHARACTERS) break;
      characters += line.length;
      count++;
    }
    this.#batch = Buffer.from(this.#lines.splice(0, count).join(''));
    return count > 0;
  }

  #wrote(bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#batch = this.#batch.subarray(bytes);
  }

  #writeRest(): void {
    // What is being written is in the hands of the system.
    if (this.#state === 'writing') this.#wrote(this.#batch.length);
    const lastMs = performance.now() + LAST_MS;
    while (this.#state !== 'ended' && this.#fillBatch()) {
      try {
        this.#wrote(writeSync(this.fd, this.#batch));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() > lastMs) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, AGAIN_MS / 10);
      }
    }
  }
}
