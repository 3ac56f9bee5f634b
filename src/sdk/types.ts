// The types that applications see: options of calls, handlers and transports. Implementations live beside this
// file; nothing here has behaviour. src/index.ts exports all of it.
import type { Attachments } from '../protocol/header.js';

/** The rungs of the ladder from app to agent, best first; `none` while there is no link. */
export type TransportName = 'shm' | 'unix' | 'tcp' | 'fallback' | 'none';

/** Levels of {@link Log}. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Receives what the SDK has to say: one line per change of transport, and rare warnings. */
export type Log = (level: LogLevel, message: string, fields: Record<string, unknown>) => void;

/** Options of one call. */
export interface CallOptions {
  /** Time until the caller gives up, in milliseconds; default 5,000. Inside a handler the shorter of this and what its own caller left. */
  timeoutMs?: number;
  /**
   * True: while no agent can be reached, or no instance of the service is there, the call waits instead of failing with
   * UNAVAILABLE, at most until its deadline: DEADLINE_EXCEEDED then says what it waited for, and that it has not run. A call
   * that may have run is never tried again. Default: that of the client, which is false.
   */
  waitForReady?: boolean;
  /** Key for balancers that hash; at most a few hundred bytes are sensible. */
  hashKey?: string;
  /** Group of the service, as published. */
  group?: string;
  /** Version of the service, for routes that look at it. */
  version?: string;
  /** Up to 64 strings by name that travel with the request. */
  attachments?: Attachments;
  /** Aborting it fails the call with CANCELLED and tells the other side. */
  signal?: AbortSignal;
  /** What the body is, for example `application/json`. */
  contentType?: string;
  /** W3C trace context; inside a handler the default is that of the request being served. */
  traceparent?: string;
  /** W3C trace state; goes with `traceparent`. */
  tracestate?: string;
}

/** The answer to a call. The body may share memory with neighbours: copy it if you keep it for long. */
export interface Reply {
  body: Buffer;
  attachments?: Attachments | undefined;
}

/** What a handler is given. */
export interface MeshRequest {
  readonly service: string;
  readonly method: string;
  readonly group: string;
  readonly version: string;
  /** The request's body. May share memory with neighbours: copy it if you keep it for long. */
  readonly body: Buffer;
  readonly attachments: Readonly<Attachments> | undefined;
  /** Name that the calling application gave itself. Not proven. */
  readonly sourceApp: string;
  readonly contentType: string;
  readonly hashKey: string;
  readonly traceparent: string;
  readonly tracestate: string;
  /** True if nobody waits for an answer. */
  readonly oneWay: boolean;
  /** How often an agent sent this request again before: 0 the first time. */
  readonly attempt: number;
  /** Milliseconds until the deadline, from now; 0 once it has passed. */
  readonly timeoutMs: number;
  /** When the deadline is. */
  readonly deadline: Date;
  /** Aborted when the caller gives up or its link is lost (the reason is a MeshError CANCELLED), and at the deadline (DEADLINE_EXCEEDED). */
  readonly signal: AbortSignal;
}

/** An answer with attachments. */
export interface HandlerReply {
  /** One over 65,536 bytes is not copied: do not change it after it was returned. */
  body?: Uint8Array | string;
  attachments?: Attachments;
}

/** What a handler may answer; undefined is an empty body. */
export type HandlerResult = Uint8Array | string | HandlerReply | undefined | void;

/**
 * Serves one request. Throw a MeshError to choose the status that the caller sees; anything else becomes UNKNOWN
 * with its message. The caller sees `mayHaveRun: true`, whatever the error says: this request has begun.
 */
export type Handler = (request: MeshRequest) => HandlerResult | Promise<HandlerResult>;

/** Bounds of one link; reaching one fails the call with RESOURCE_EXHAUSTED. */
export interface LinkLimits {
  /** Calls that await their reply on one link: 1 to 65,536, default 16,384. */
  maxPendingCalls?: number;
  /** Bytes that wait for the transport on one link, default 8 MiB. Bodies over 65,536 bytes wait outside and do not count. */
  maxOutboundBytes?: number;
  /** Longest body taken: requests by a server, replies by a client. 65,536 to 4,294,967,295 bytes, default 64 MiB. */
  maxBodyBytes?: number;
  /**
   * Bodies over 65,536 bytes that travel at once in each direction of one link: 1 to 65,536, default 64. Further ones
   * wait for their turn until their deadline; those that the other side sends beyond it are refused. A server takes as many from one
   * calling application and a quarter more together, so that others find room, unless they are fewer than eight.
   */
  maxStreams?: number;
  /**
   * Bytes of such bodies on one link that are being put together, and of answers that are not sent yet, each: default
   * 256 MiB, at least `maxBodyBytes`. One calling application gets four fifths of what a server puts together.
   */
  maxStreamBytes?: number;
}

/** How to find the agent, or to do without one. Shared by `connect` and `serve`. */
export interface MeshOptions extends LinkLimits {
  /** Name of this application; default `RINGSIDE_APP`, else the name of its script. */
  app?: string;
  /**
   * The agent: `unix:/path`, a plain path, or `tcp://127.0.0.1:port`; both as an object. Default `RINGSIDE_AGENT`
   * and `RINGSIDE_AGENT_TCP`, else the default socket and TCP port 15100 on loopback.
   */
  agent?: string | { socket?: string; tcp?: string };
  /**
   * Users whom this application takes for its agent, beside its own, root, and, for a socket whose path is given, the owner of its directory if nobody else
   * may write there. Whoever else listens is told nothing. `any`: whoever it is. Default `RINGSIDE_AGENT_UIDS`, with commas between.
   */
  agentUids?: readonly number[] | 'any';
  /** Which rungs may be used; default `RINGSIDE_TRANSPORT`, else `auto`. */
  transport?: 'auto' | 'shm' | 'unix' | 'tcp';
  /** Access token for agents that ask for one; default `RINGSIDE_TOKEN`. */
  token?: string;
  /** False does without an agent (direct mode); default true unless `RINGSIDE_MESH` is `off`. */
  mesh?: boolean;
  /** Bytes of one shared-memory ring, a power of two from 256 KiB to 64 MiB; default 1 MiB. */
  ringBytes?: number;
  /** Time for one attempt to open a link, in milliseconds; default 2,000. */
  connectTimeoutMs?: number;
  /** Silence after which a TCP link is pinged, in milliseconds; default 10,000. Three unanswered pings close it. */
  keepAliveMs?: number;
  /** Bounds of the pause between attempts at a better transport, in milliseconds; default 100 to 5,000. */
  backoffMs?: { min: number; max: number };
  /** Time that calls and handlers in flight are given when closing or changing links, in milliseconds; default 10,000. */
  drainTimeoutMs?: number;
  /** Receives log lines; default: warnings go to stderr, and everything if `RINGSIDE_LOG` is set. */
  log?: Log;
}

/** Options of `connect`. */
export interface ConnectOptions extends MeshOptions {
  /** Default timeout of calls in milliseconds; default 5,000. */
  timeoutMs?: number;
  /** Whether calls wait for an agent and an instance unless they say otherwise, see {@link CallOptions}; default false. */
  waitForReady?: boolean;
  /**
   * True: `connect` succeeds without an agent and keeps looking for one; calls fail until it is there, or wait for it with
   * `waitForReady`.
   */
  lazy?: boolean;
  /** Direct mode: addresses by service, as `host:port`; default `RINGSIDE_ENDPOINTS` as JSON. */
  endpoints?: Record<string, readonly string[]>;
}

/** Options of `serve`. */
export interface ServeOptions extends MeshOptions {
  /** Name under which others call this. */
  service: string;
  group?: string;
  version?: string;
  /** Share of the load relative to other instances; default is the agent's. */
  weight?: number;
  /** One handler per method, or one for every method. */
  methods: Record<string, Handler> | Handler;
  /**
   * Requests that may run at once; default 10,000. More are refused with RESOURCE_EXHAUSTED. One calling application (in direct mode: one
   * connection) gets four fifths of them at most, unless they are fewer than eight, so that others find room.
   */
  maxConcurrentRequests?: number;
  /** Deadline of requests that state none, in milliseconds; default 60,000. */
  defaultTimeoutMs?: number;
  /** Default timeout of calls made through `server.client`, in milliseconds; default 5,000. */
  timeoutMs?: number;
  /** Whether calls made through `server.client` wait for an agent and an instance unless they say otherwise; default false. */
  waitForReady?: boolean;
  /** True: `serve` succeeds without an agent and publishes as soon as there is one. */
  lazy?: boolean;
  /** Direct mode: where to listen, as `host:port`; port 0 takes a free one. Default `127.0.0.1:0`. */
  listen?: string;
  /** Direct mode: addresses for calls through `server.client`. */
  endpoints?: Record<string, readonly string[]>;
}
