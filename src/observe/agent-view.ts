/**
 * What the admin server, the metrics and the command line may know about a running agent. The agent implements
 * this interface; everything in src/admin is programmed against it and never sees the engine. Each method returns
 * plain, JSON-safe objects that are copies: whoever reads them may take its time and may change them.
 */
import type { LatencySummary, SketchPairs } from './sketch.js';

/** One framed byte channel to an app or to another agent. */
export interface LinkView {
  id: string;
  kind: 'shm' | 'unix' | 'tcp';
  /** `app`: an application beside this agent; `peer`: another agent that connected here; `upstream`: one we connected to. */
  role: 'app' | 'peer' | 'upstream';
  /** Address of a TCP peer, or `pid <n> uid <n>` of a local one. */
  peer: string;
  /** Name the peer gave in its hello; empty if it gave none. */
  app: string;
  state: string;
  /** How long the link has been in this state, in milliseconds. */
  sinceMs: number;
  requestsIn: number;
  responsesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Requests that await a reply on this link now. */
  pending: number;
  /** Bytes queued for this link that its socket or ring has not taken yet. */
  outboundBytes: number;
}

/** One instance as a balancer sees it. */
export interface EndpointView {
  id: string;
  /** `host:port` of another agent; null where the endpoint is an app's link. */
  address: string | null;
  /** Zone that its agent put into the registry; empty if it put none, and for an app's link. */
  zone: string;
  /** Id of the link where the endpoint is an app beside this agent, or of the open upstream link; null if none is open. */
  link: string | null;
  weight: number;
  inFlight: number;
  state: 'ready' | 'idle' | 'connecting' | 'backoff' | 'draining';
  requests: number;
  failures: number;
}

/** The endpoints of one service and group. */
export interface ClusterView {
  id: string;
  service: string;
  group: string;
  direction: Direction;
  balancer: string;
  endpoints: EndpointView[];
}

/** `outbound`: our app calls others; `inbound`: others call our app. */
export type Direction = 'outbound' | 'inbound';

/** One installed flow with what it has carried. */
export interface FlowView {
  direction: Direction;
  service: string;
  /** Absent where the service's routes do not look at the method. */
  method?: string;
  group?: string;
  /** Cluster id, or null where the flow answers by itself. */
  cluster: string | null;
  flags: string[];
  requests: number;
  /** Requests by status code, 17 numbers (docs/wire-format.md). */
  byStatus: number[];
  latency: LatencySummary;
  /** The sketch that `latency` was read from; the metrics need it, people are not shown it. */
  sketch: SketchPairs;
}

/**
 * How full a bound is: one of the configuration's `limits` by its name there, or one that follows from them. Of a bound that holds
 * for each link, user or address the fullest counts; of one that holds for single messages the largest so far.
 */
export interface LimitView {
  name: string;
  used: number;
  max: number;
}

/** Which agent this is, and in which process and configuration it runs. */
export interface IdentityView {
  /** Of the package, and the commit it was built from; null where the build did not know it. */
  version: string;
  commit: string | null;
  node: string;
  /** Of this process, which takeovers replace. */
  pid: number;
  uptimeMs: number;
  /** Name of the application beside it, from its configuration. */
  app: string;
  /** Two agents with the same configuration have the same; secrets do not count (src/config/config-hash.ts). */
  configHash: string;
}

/** Whether this agent can serve, if not, why not, and what is wrong although it can. */
export interface ReadyView {
  ok: boolean;
  reasons: string[];
  /** Each begins with where it comes from and a colon, such as `registry redis:`, which stays the same while the words behind it change. */
  warnings: string[];
}

/** The registry as this agent sees it. */
export interface RegistryView {
  kind: 'embedded' | 'redis';
  /** Directory, or the URL without its password. */
  address: string;
  /** Whether it can be asked now. */
  connected: boolean;
  /** What is wrong, in words; null if nothing is. */
  problem: string | null;
  /** Services watched, and the instances of them that serve. */
  services: number;
  instances: number;
  /** Instances that were read, which `limits.instances` bounds: the embedded registry reads those of all services. */
  read: number;
  /** Instances that this agent keeps registered. */
  registered: number;
  /** Instances of watched services that the watcher has taken out. */
  offline: number;
  /** Watched services whose list comes from disk, since the registry was not read yet. */
  fromDisk: number;
  /** Services with instances that the registry lost all at once and that serve on for a while. */
  protected: { service: string; instances: number }[];
}

/** One program that the configuration names under `publish`. */
export interface ProgramView {
  service: string;
  group: string;
  protocol: 'legacy' | 'mesh';
  address: string;
  /** `checking`: it has not answered often enough yet; `failing`: it does not answer and is not published. */
  state: 'checking' | 'published' | 'failing';
  /** What was wrong when it was asked last; null if nothing was. */
  problem: string | null;
}

/** What takeovers came to, over all the processes that were this agent. */
export interface HandoffView {
  /** Takeovers that succeeded. */
  done: number;
  /** Takeovers that were asked for and came to nothing; the agent went on. */
  failed: number;
  /** The one by which this process came; null if it was started afresh. */
  last: {
    /** From the last frame that the old process read until this one began to read, in microseconds. */
    freezeUs: number;
    links: number;
    /** Requests that awaited a reply, and that waited for a decision. */
    pending: number;
    parked: number;
  } | null;
}

/** See the file's head. */
export interface AgentView {
  identity(): Promise<IdentityView>;
  ready(): Promise<ReadyView>;
  links(): Promise<LinkView[]>;
  clusters(): Promise<ClusterView[]>;
  flows(): Promise<FlowView[]>;
  /** Engine counters by snake_case name, each only growing: upcalls, flow_hits, flow_misses, protocol_errors, ... */
  counters(): Promise<Record<string, number>>;
  limits(): Promise<LimitView[]>;
  registry(): Promise<RegistryView>;
  programs(): Promise<ProgramView[]>;
  handoff(): Promise<HandoffView>;
  /** The configuration in force. The admin server takes secrets out before it shows it. */
  config(): Promise<unknown>;
}
