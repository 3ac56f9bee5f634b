// One request being served, and the table of those of one link. The dispatcher makes them; handlers see them as
// MeshRequest. AbortController and Date are made only for handlers that ask for them, because most never do.
import type { MeshError } from '../base/errors.js';
import type { Frame } from '../protocol/frame.js';
import { FrameType } from '../protocol/frame.js';
import type { Attachments, Header } from '../protocol/header.js';
import type { Expiring } from './deadlines.js';
import type { IncomingBody } from './incoming-stream.js';
import type { Link } from './link.js';
import type { MeshRequest } from './types.js';

/** A request from its dispatch to its answer, deadline or cancellation. */
export class InboundCall implements MeshRequest, Expiring {
  heapIndex = -1;
  /** True once it is answered or given up: whatever the handler still says is ignored. */
  ended = false;
  /** The next one in the table with the same lower id half. */
  next: InboundCall | undefined = undefined;
  readonly idLo: number;
  readonly idHi: number;
  readonly oneWay: boolean;
  readonly attempt: number;
  /** Its body, once all of it has arrived. */
  body: Buffer;
  /** The body, while it arrives in pieces: the handler starts when it is whole. */
  receiving: IncomingBody | undefined = undefined;
  /** Whose share it takes, where callers are counted. */
  countedFor: unknown = undefined;
  #controller: AbortController | undefined = undefined;
  #abortReason: MeshError | undefined = undefined;

  constructor(
    readonly link: Link,
    frame: Frame,
    readonly header: Header,
    readonly deadlineMs: number,
  ) {
    this.idLo = frame.idLo;
    this.idHi = frame.idHi;
    this.oneWay = frame.type === FrameType.oneWay;
    this.attempt = frame.attempt;
    this.body = frame.body;
  }

  get service(): string {
    return this.header.service;
  }
  get method(): string {
    return this.header.method;
  }
  get group(): string {
    return this.header.group;
  }
  get version(): string {
    return this.header.version;
  }
  get attachments(): Readonly<Attachments> | undefined {
    return this.header.attachments;
  }
  get sourceApp(): string {
    return this.header.sourceApp;
  }
  get contentType(): string {
    return this.header.contentType;
  }
  get hashKey(): string {
    return this.header.hashKey;
  }
  get traceparent(): string {
    return this.header.traceparent;
  }
  get tracestate(): string {
    return this.header.tracestate;
  }
  get timeoutMs(): number {
    return Math.max(0, this.deadlineMs - performance.now());
  }
  get deadline(): Date {
    return new Date(Date.now() + (this.deadlineMs - performance.now()));
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** Tells the handler, if it listens, that nobody waits any more. */
  abort(reason: MeshError): void {
    this.#abortReason ??= reason;
    this.#controller?.abort(reason);
  }
}

/** Requests being served on one link, found by their id when a cancel comes. Bounded by the dispatcher. */
export class InboundCalls {
  readonly #byLo = new Map<number, InboundCall>();
  readonly #oneWay = new Set<InboundCall>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(call: InboundCall): void {
    this.#count += 1;
    if (call.oneWay) {
      this.#oneWay.add(call);
      return;
    }
    const key = call.idLo | 0;
    call.next = this.#byLo.get(key);
    this.#byLo.set(key, call);
  }

  remove(call: InboundCall): void {
    if (call.oneWay) {
      if (this.#oneWay.delete(call)) this.#count -= 1;
      return;
    }
    const key = call.idLo | 0;
    let before: InboundCall | undefined;
    let at = this.#byLo.get(key);
    while (at !== undefined && at !== call) {
      before = at;
      at = at.next;
    }
    if (at === undefined) return;
    this.#count -= 1;
    if (before !== undefined) before.next = call.next;
    else if (call.next !== undefined) this.#byLo.set(key, call.next);
    else this.#byLo.delete(key);
    call.next = undefined;
  }

  find(idLo: number, idHi: number): InboundCall | undefined {
    let at = this.#byLo.get(idLo | 0);
    while (at !== undefined && at.idHi !== idHi) at = at.next;
    return at;
  }

  all(): InboundCall[] {
    const calls = [...this.#oneWay];
    for (const first of this.#byLo.values()) {
      for (let call: InboundCall | undefined = first; call !== undefined; call = call.next) calls.push(call);
    }
    return calls;
  }
}
