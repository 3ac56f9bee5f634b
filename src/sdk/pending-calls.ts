// The calls of one link that await their reply. A request id is a slot plus a generation, so a lookup is one
// array access and a late or invented id finds nothing. The number of slots bounds the calls in flight.
import type { MeshError } from '../base/errors.js';
import type { Expiring } from './deadlines.js';
import type { IncomingBody } from './incoming-stream.js';
import type { OutgoingStream } from './outgoing-stream.js';
import type { Reply } from './types.js';

/** One call that awaits its reply. */
export class PendingCall implements Expiring {
  heapIndex = -1;
  slot = -1;
  idLo = 0;
  idHi = 0;
  /** Where its frame begins and ends in the link's outbound stream. */
  frameStart = 0;
  frameEnd = 0;
  /** The request's body, if it leaves in pieces. */
  sending: OutgoingStream | undefined = undefined;
  /** The reply's body, while it arrives in pieces. */
  receiving: IncomingBody | undefined = undefined;
  /** True once the reply has begun. */
  answered = false;
  signal: AbortSignal | undefined = undefined;
  onAbort: (() => void) | undefined = undefined;

  constructor(
    readonly deadlineMs: number,
    readonly resolve: (reply: Reply) => void,
    readonly reject: (error: MeshError) => void,
  ) {}

  /** Position in the link's outbound stream from which on the request may run. */
  get runsFrom(): number {
    if (this.answered) return 0;
    return this.sending === undefined ? this.frameEnd : this.sending.endPosition;
  }

  /** Lets go of the caller's AbortSignal, which may live much longer than the call. */
  forgetSignal(): void {
    if (this.onAbort !== undefined) this.signal!.removeEventListener('abort', this.onAbort);
    this.onAbort = undefined;
    this.signal = undefined;
  }
}

const slotBits = 16;
const slotCount = 1 << slotBits;
const generationsLo = 1 << (32 - slotBits);

/** Bounded table of pending calls. */
export class PendingCalls {
  readonly #slots: (PendingCall | undefined)[] = [];
  readonly #free: number[] = [];
  #generation = 0;
  #count = 0;

  /** @param capacity calls at once, 1 to 65,536 */
  constructor(readonly capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > slotCount) {
      throw new RangeError(`maxPendingCalls must be 1 to ${slotCount}, not ${capacity}`);
    }
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count >= this.capacity;
  }

  /** Gives the call an id; the caller has seen that the table is not full. */
  add(call: PendingCall): void {
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#generation += 1;
    call.slot = slot;
    call.idLo = ((this.#generation % generationsLo) * slotCount + slot) >>> 0;
    call.idHi = Math.floor(this.#generation / generationsLo) >>> 0;
    this.#slots[slot] = call;
    this.#count += 1;
  }

  /** The call with this id, if it is still awaited. */
  find(idLo: number, idHi: number): PendingCall | undefined {
    const call = this.#slots[idLo & (slotCount - 1)];
    return call !== undefined && call.idLo === idLo && call.idHi === idHi ? call : undefined;
  }

  /** Removes a call that is in the table. */
  remove(call: PendingCall): void {
    this.#slots[call.slot] = undefined;
    this.#free.push(call.slot);
    this.#count -= 1;
  }

  /** Removes and answers all calls. */
  takeAll(): PendingCall[] {
    const all = this.#slots.filter((call) => call !== undefined);
    for (const call of all) this.remove(call);
    return all;
  }
}
