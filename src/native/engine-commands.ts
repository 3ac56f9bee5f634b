// Builds the batches of commands that the engine takes (native/engine/commands.cc is the other side): snapshots,
// flows, verdicts. Everything that is said between two flushes crosses in one piece and is applied between two turns
// of the engine's loop.
import { Buffer } from 'node:buffer';

/** `outbound`: our apps call others; `inbound`: others call our apps. */
export type EngineDirection = 'outbound' | 'inbound';

/** Which attributes of a request belong to the key of a service's flows. */
export interface KeySpec {
  method?: boolean;
  group?: boolean;
  version?: boolean;
  hashKey?: boolean;
  attachments?: readonly string[];
}

/** The values of those attributes for one flow; what is absent is the empty string. */
export interface KeyValues {
  method?: string;
  group?: string;
  version?: string;
  hashKey?: string;
  attachments?: readonly string[];
}

/** An endpoint of a cluster: another agent's address or a link to an app of this agent. */
export interface EndpointCommand {
  instanceId: number;
  weight: number;
  /** `host:port`, IPv6 in brackets. */
  address?: string;
  /** What is spoken there; `mesh` where it is not said. */
  protocol?: 'mesh' | 'legacy';
  /** Handle of a link. */
  link?: number;
}

/** The whole of a cluster; replaces what was there under the same id. */
export interface ClusterCommand {
  id: number;
  direction: EngineDirection;
  balancer: 'p2c' | 'round-robin';
  service: string;
  group: string;
  /** Why nobody knows yet who serves it, in words for its callers, whose requests wait meanwhile; absent or empty: it is known. */
  awaited?: string;
  endpoints: readonly EndpointCommand[];
}

/** What a flow does with its requests. */
export type FlowAction =
  | {
      kind: 'forward';
      cluster: number;
      /** 0: the engine's default. */ timeoutMs: number;
      /** A user's filter looks at each request. */ upcall: boolean;
    }
  | { kind: 'reject'; code: number; text: string };

/** The decision on an upcall. */
export type Verdict =
  | { kind: 'lookup' }
  | { kind: 'reject'; code: number; text: string }
  | { kind: 'answer'; code: number; header?: Buffer; body?: Buffer }
  | { kind: 'forward'; cluster: number; timeoutMs?: number; header?: Buffer };

const empty = Buffer.alloc(0);

const type = {
  setCluster: 1,
  removeCluster: 2,
  setService: 3,
  setFlow: 4,
  removeService: 5,
  resolve: 6,
  closeLink: 7,
  goAway: 8,
  readStats: 9,
  awaitIdle: 10,
  closeListener: 11,
  setTimeouts: 12,
  offerHandoff: 13,
  refuseHandoff: 14,
  takeOver: 15,
  takeOverReady: 16,
} as const;

/** Collects commands until take(). */
export class CommandBatch {
  #parts: Buffer[] = [];

  /** Whether there is anything to submit. */
  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** The batch in one buffer; starts a new one. */
  take(): Buffer {
    const batch = Buffer.concat(this.#parts);
    this.#parts = [];
    return batch;
  }

  setCluster(cluster: ClusterCommand): void {
    const out = new Payload()
      .u32(cluster.id)
      .u8(directionCode(cluster.direction))
      .u8(cluster.balancer === 'round-robin' ? 1 : 0)
      .text(cluster.service)
      .text(cluster.group)
      .text(cluster.awaited ?? '')
      .u32(cluster.endpoints.length);
    for (const endpoint of cluster.endpoints) {
      out.u64(endpoint.instanceId).u32(endpoint.weight);
      if (endpoint.link !== undefined) out.u8(1).u64(endpoint.link);
      else out.u8(endpoint.protocol === 'legacy' ? 2 : 0).text(endpoint.address ?? '');
    }
    this.#add(type.setCluster, out);
  }

  removeCluster(id: number): void {
    this.#add(type.removeCluster, new Payload().u32(id));
  }

  setService(direction: EngineDirection, service: string, key: KeySpec): void {
    const out = new Payload().u8(directionCode(direction)).text(service);
    out.u8((key.method ? 1 : 0) | (key.group ? 2 : 0) | (key.version ? 4 : 0) | (key.hashKey ? 8 : 0));
    this.#add(type.setService, out.texts(key.attachments ?? []));
  }

  setFlow(direction: EngineDirection, service: string, values: KeyValues, action: FlowAction): void {
    const out = new Payload().u8(directionCode(direction)).text(service);
    out.text(values.method ?? '').text(values.group ?? '');
    out.text(values.version ?? '').text(values.hashKey ?? '');
    out.texts(values.attachments ?? []);
    if (action.kind === 'forward') {
      out.u8(0).u8(action.upcall ? 1 : 0);
      out.u32(action.cluster).u32(action.timeoutMs).u8(0).text('');
    } else {
      out.u8(1).u8(0).u32(0).u32(0).u8(action.code).text(action.text);
    }
    this.#add(type.setFlow, out);
  }

  removeService(direction: EngineDirection, service: string): void {
    this.#add(type.removeService, new Payload().u8(directionCode(direction)).text(service));
  }

  resolve(token: number, verdict: Verdict): void {
    const out = new Payload().u64(token);
    const text = verdict.kind === 'reject' ? verdict.text : '';
    const code = verdict.kind === 'reject' || verdict.kind === 'answer' ? verdict.code : 0;
    out.u8({ lookup: 0, reject: 1, answer: 2, forward: 3 }[verdict.kind]).u8(code).text(text);
    out.bytes(
      (verdict.kind === 'answer' || verdict.kind === 'forward' ? verdict.header : undefined) ?? empty,
    );
    out.bytes((verdict.kind === 'answer' ? verdict.body : undefined) ?? empty);
    out.u32(verdict.kind === 'forward' ? verdict.cluster : 0);
    out.u32((verdict.kind === 'forward' ? verdict.timeoutMs : undefined) ?? 0);
    this.#add(type.resolve, out);
  }

  closeLink(link: number, reason: string): void {
    this.#add(type.closeLink, new Payload().u64(link).text(reason));
  }

  goAway(id: number, service: string, timeoutMs: number, apps: boolean): void {
    this.#add(
      type.goAway,
      new Payload()
        .u32(id)
        .u8(apps ? 1 : 0)
        .text(service)
        .u32(timeoutMs),
    );
  }

  readStats(id: number): void {
    this.#add(type.readStats, new Payload().u32(id));
  }

  awaitIdle(id: number, appsGone: boolean): void {
    this.#add(type.awaitIdle, new Payload().u32(id).u8(appsGone ? 1 : 0));
  }

  closeListener(id: number): void {
    this.#add(type.closeListener, new Payload().u32(id));
  }

  setTimeouts(defaultMs: number, maxMs: number): void {
    this.#add(type.setTimeouts, new Payload().u32(defaultMs).u32(maxMs));
  }

  offerHandoff(state: Buffer, freezeMs: number): void {
    this.#add(type.offerHandoff, new Payload().bytes(state).u32(freezeMs));
  }

  refuseHandoff(text: string): void {
    this.#add(type.refuseHandoff, new Payload().text(text));
  }

  takeOver(path: string, software: string, deadlineMs: number): void {
    this.#add(type.takeOver, new Payload().text(path).text(software).u32(deadlineMs));
  }

  takeOverReady(): void {
    this.#add(type.takeOverReady, new Payload());
  }

  #add(code: number, payload: Payload): void {
    const bytes = payload.take();
    const head = Buffer.allocUnsafe(5);
    head.writeUInt8(code, 0);
    head.writeUInt32LE(bytes.length, 1);
    this.#parts.push(head, bytes);
  }
}

function directionCode(direction: EngineDirection): number {
  return direction === 'outbound' ? 0 : 1;
}

class Payload {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    return this.#push(1, (b) => b.writeUInt8(value));
  }
  u32(value: number): this {
    return this.#push(4, (b) => b.writeUInt32LE(value));
  }
  u64(value: number): this {
    return this.#push(8, (b) => b.writeBigUInt64LE(BigInt(value)));
  }
  bytes(value: Buffer): this {
    this.u32(value.length);
    this.#parts.push(value);
    return this;
  }
  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'));
  }
  texts(values: readonly string[]): this {
    this.u8(values.length);
    for (const value of values) this.text(value);
    return this;
  }
  take(): Buffer {
    return Buffer.concat(this.#parts);
  }
  #push(bytes: number, write: (b: Buffer) => void): this {
    const part = Buffer.allocUnsafe(bytes);
    write(part);
    this.#parts.push(part);
    return this;
  }
}
