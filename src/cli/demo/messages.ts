// What the demo and its two applications say to each other over Node's channel between parent and child.

/** The ways a call takes in the demo. */
export const demoPaths = ['direct', 'tcp', 'shm'] as const;
export type DemoPath = (typeof demoPaths)[number];

/** Addresses of one agent. */
export interface DemoAgent {
  socket: string;
  loopback: number;
}

/** To the server application: serve on all paths. Answered by `{ready: true, direct}`. */
export interface ServeOrder {
  agent: DemoAgent;
}
export interface ServeAnswer {
  ready: true;
  /** host:port of the path without agents. */
  direct: string;
}

/** To the client application: connect on all paths. Answered by `{ready: true}`. */
export interface ConnectOrder {
  connect: { agent: DemoAgent; direct: string };
}
/** To the client application: call. Answered by a RoundResult. */
export interface LoadOrder {
  load: { path: DemoPath; rate: number; seconds: number; bodyBytes: number };
}

/** One path's part of one round. */
export interface RoundResult {
  path: DemoPath;
  requests: number;
  errors: number;
  /** Text of the first error, if any. */
  firstError?: string;
  achievedRps: number;
  /** Per call, from when it was sent, in microseconds. */
  fromSendUs: number[];
  /** Per call, from when it should have been sent. */
  fromIntendedUs: number[];
}

/** Service name of a path. */
export function serviceOf(path: DemoPath): string {
  return `demo-echo-${path}`;
}
