// What the engine knows about itself at one moment: counters, how full its tables are, links, clusters, flows. Copied out by
// the worker when it is asked; nothing here is shared with it.
import type { BatchReader } from './batch-reader.js';
import type { EngineDirection, KeyValues } from './engine-commands.js';
import type { LinkKind, LinkRole } from './engine-events.js';
import { directions, linkKinds, linkRoles } from './engine-events.js';

export interface LinkStats {
  link: number;
  kind: LinkKind;
  role: LinkRole;
  state: (typeof linkStates)[number];
  peer: string;
  app: string;
  sinceMs: number;
  requestsIn: number;
  responsesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Requests sent to it and requests that came from it, awaiting their replies. */
  pendingUp: number;
  pendingDown: number;
  outboundBytes: number;
}

export interface EndpointStats {
  instanceId: number;
  weight: number;
  local: boolean;
  /** Address of the other agent, or who is at the other end of a local link. */
  where: string;
  state: (typeof endpointStates)[number];
  inFlight: number;
  requests: number;
  failures: number;
  latencyUs: number;
}

export interface ClusterStats {
  id: number;
  direction: EngineDirection;
  balancer: 'p2c' | 'round-robin';
  service: string;
  group: string;
  endpoints: EndpointStats[];
}

export interface FlowStats {
  direction: EngineDirection;
  service: string;
  values: KeyValues;
  action: 'forward' | 'reject';
  upcall: boolean;
  cluster: number;
  requests: number;
  /** Finished requests by status code, 17 numbers. */
  byStatus: number[];
  latencySumUs: number;
  /** Sparse buckets of the latency sketch, see src/observe/sketch.ts. */
  latency: [index: number, count: number][];
}

export interface EngineStats {
  counters: Record<string, number>;
  limits: { name: string; used: number; max: number }[];
  links: LinkStats[];
  clusters: ClusterStats[];
  flows: FlowStats[];
}

const linkStates = ['connecting', 'opening', 'open', 'closing', 'draining'] as const;
const endpointStates = ['idle', 'ready', 'connecting', 'backoff', 'draining'] as const;
const statusCodes = 17;

/** Reads a statistics event from behind its id. */
export function readStats(from: BatchReader): EngineStats {
  const counters: Record<string, number> = {};
  for (let n = from.u32(); n > 0; n--) counters[from.text()] = from.u64();
  return {
    counters,
    limits: list(from, () => ({ name: from.text(), used: from.u64(), max: from.u64() })),
    links: list(from, () => readLink(from)),
    clusters: list(from, () => readCluster(from)),
    flows: list(from, () => readFlow(from)),
  };
}

function list<T>(from: BatchReader, read: () => T): T[] {
  return Array.from({ length: from.u32() }, read);
}

function readLink(from: BatchReader): LinkStats {
  return {
    link: from.u64(),
    kind: from.oneOf(linkKinds),
    role: from.oneOf(linkRoles),
    state: from.oneOf(linkStates),
    peer: from.text(),
    app: from.text(),
    sinceMs: from.f64(),
    requestsIn: from.u64(),
    responsesOut: from.u64(),
    bytesIn: from.u64(),
    bytesOut: from.u64(),
    pendingUp: from.u32(),
    pendingDown: from.u32(),
    outboundBytes: from.u64(),
  };
}

function readCluster(from: BatchReader): ClusterStats {
  return {
    id: from.u32(),
    direction: from.oneOf(directions),
    balancer: from.oneOf(['p2c', 'round-robin'] as const),
    service: from.text(),
    group: from.text(),
    endpoints: list(from, () => ({
      instanceId: from.u64(),
      weight: from.u32(),
      local: from.u8() === 1,
      where: from.text(),
      state: from.oneOf(endpointStates),
      inFlight: from.u32(),
      requests: from.u64(),
      failures: from.u64(),
      latencyUs: from.f64(),
    })),
  };
}

function readFlow(from: BatchReader): FlowStats {
  const direction = from.oneOf(directions);
  const service = from.text();
  const fields = from.u8();
  const attachmentNames = Array.from({ length: from.u8() }, () => from.text());
  const values = readKeyValues(from, fields, attachmentNames.length);
  return {
    direction,
    service,
    values,
    action: from.oneOf(['forward', 'reject'] as const),
    upcall: from.u8() === 1,
    cluster: from.u32(),
    requests: from.u64(),
    byStatus: Array.from({ length: statusCodes }, () => from.u64()),
    latencySumUs: from.f64(),
    latency: list(from, () => [from.u16(), from.u32()] as [number, number]),
  };
}

function readKeyValues(from: BatchReader, fields: number, attachments: number): KeyValues {
  from.u32(); // the values' length in all, which the count of them says too
  const values: KeyValues = {};
  if (fields & 1) values.method = from.text();
  if (fields & 2) values.group = from.text();
  if (fields & 4) values.version = from.text();
  if (fields & 8) values.hashKey = from.text();
  if (attachments > 0) values.attachments = Array.from({ length: attachments }, () => from.text());
  return values;
}
