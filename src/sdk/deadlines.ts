// Deadlines of many calls on one timer: a binary heap whose items know their place, so that the usual end of a
// call (its reply) removes it for good. The timer sleeps until the earliest deadline that was known when it was
// armed; a removal never touches it. Links own one for pending calls, the dispatcher one for running handlers.

/** Something with a deadline on the clock of `performance.now()`. `heapIndex` belongs to the queue; -1 outside. */
export interface Expiring {
  readonly deadlineMs: number;
  heapIndex: number;
}

/** Whole milliseconds for the wire, where 0 would mean that there is no deadline. */
export function wireTimeoutMs(timeoutMs: number): number {
  return Math.max(1, Math.round(timeoutMs));
}

const maxSleepMs = 0x7fffffff;

/** Items ordered by deadline; `onExpire` gets each one after it was removed. */
export class DeadlineQueue<T extends Expiring> {
  readonly #heap: T[] = [];
  #timer: NodeJS.Timeout | undefined;
  #wakeAtMs = Infinity;

  constructor(readonly onExpire: (item: T) => void) {}

  get size(): number {
    return this.#heap.length;
  }

  add(item: T): void {
    this.#heap.push(item);
    this.#up(item, this.#heap.length - 1);
    if (item.deadlineMs < this.#wakeAtMs) this.#arm(item.deadlineMs);
  }

  /** Removes an item; one that is not in the queue is left alone. */
  remove(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.#heap.pop()!;
    if (last === item) return;
    this.#up(last, index);
    this.#down(last, last.heapIndex);
  }

  /** Forgets everything and stops the timer. */
  clear(): void {
    for (const item of this.#heap) item.heapIndex = -1;
    this.#heap.length = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAtMs = Infinity;
  }

  #arm(atMs: number): void {
    clearTimeout(this.#timer);
    this.#wakeAtMs = atMs;
    const sleepMs = Math.min(maxSleepMs, Math.max(1, Math.ceil(atMs - performance.now())));
    // Unreferenced: what keeps the process alive is the link, never a deadline on it.
    this.#timer = setTimeout(this.#wake, sleepMs).unref();
  }

  readonly #wake = (): void => {
    this.#timer = undefined;
    this.#wakeAtMs = Infinity;
    const now = performance.now();
    for (let first = this.#heap[0]; first !== undefined && first.deadlineMs <= now; first = this.#heap[0]) {
      this.remove(first);
      this.onExpire(first);
    }
    const next = this.#heap[0];
    if (next !== undefined && next.deadlineMs < this.#wakeAtMs) this.#arm(next.deadlineMs);
  };

  #up(item: T, from: number): void {
    const heap = this.#heap;
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex]!;
      if (parent.deadlineMs <= item.deadlineMs) break;
      heap[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    heap[index] = item;
    item.heapIndex = index;
  }

  #down(item: T, from: number): void {
    const heap = this.#heap;
    let index = from;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= heap.length) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && right.deadlineMs < heap[childIndex]!.deadlineMs) childIndex += 1;
      const child = heap[childIndex]!;
      if (child.deadlineMs >= item.deadlineMs) break;
      heap[index] = child;
      child.heapIndex = index;
      index = childIndex;
    }
    heap[index] = item;
    item.heapIndex = index;
  }
}
