// What the harness and its two applications say to each other over Node's channel between parent and child.
import type { HistogramData } from '../measure/histogram.js';

/** The protocols that an echo can be reached by. */
export const endpointKinds = ['raw', 'sdk', 'grpc', 'http'] as const;
export type EndpointKind = (typeof endpointKinds)[number];

/** How the SDK finds its agent; absent in direct mode. */
export interface AgentAddress {
  address: string;
  transport: 'shm' | 'unix' | 'tcp';
}

/** To the server application: serve an echo for one path. Answered by a ServeAnswer. */
export interface ServeOrder {
  serve: { path: string; kind: EndpointKind; agent?: AgentAddress };
}
export interface ServeAnswer {
  /** host:port, or empty where the server is reached through agents. */
  address: string;
}

/** To the client application: connect on one path and call it once. Answered by `{connected: true}`. */
export interface ConnectOrder {
  connect: { path: string; kind: EndpointKind; address: string; agent?: AgentAddress };
}

/** What to send: at a rate (open loop) or with a number of calls always in flight (closed loop). */
export interface LoadPlan {
  seconds: number;
  bodyBytes: number;
  pace: { ratePerSecond: number } | { inFlight: number };
}

/** To the client application: call. Answered by a LoadResult. */
export interface LoadOrder {
  load: LoadPlan & { path: string };
}

/** What happened while one plan ran. */
export interface LoadResult {
  /** Calls that were begun, answered or not. */
  requests: number;
  errors: number;
  /** Text of the first error. */
  firstError?: string;
  /** From the first intended call to the last answer. */
  elapsedSeconds: number;
  /** Of the calls that were answered, from when they were sent. */
  fromSend: HistogramData;
  /** The same from when they should have been sent; absent in a closed loop, where that is the same moment. */
  fromIntended?: HistogramData;
  /** How much later than intended calls were sent; absent in a closed loop. */
  lateness?: HistogramData;
  overTime: TimeSlice[];
}

/** Latency in one short stretch of the run, by when answers came; from the intended moment. */
export interface TimeSlice {
  atSeconds: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
}
