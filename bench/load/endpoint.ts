// What a protocol must offer to take part: an echo server and a caller of it. One file beside this one for each, loaded when a
// path asks for it, so that a package that is not installed is missed by its own paths only.
import type { AgentAddress, EndpointKind } from './messages.js';
import type { Call } from './generate-load.js';

/** Where a caller finds its echo. */
export interface EchoTarget {
  /** Name of the path; with agents also the name of the service. */
  path: string;
  /** host:port; not looked at where `agent` is given. */
  address: string;
  agent?: AgentAddress;
}

export interface EchoServer {
  /** host:port, or empty where it is reached through an agent. */
  address: string;
}

/** See the file's head. Nothing is closed: the application ends with its process. */
export interface Endpoint {
  serve(target: { path: string; agent?: AgentAddress }): Promise<EchoServer>;
  connect(target: EchoTarget): Promise<Call>;
}

/** Loads one protocol; rejects if the package that it needs is not installed. */
export async function loadEndpoint(kind: EndpointKind): Promise<Endpoint> {
  switch (kind) {
    case 'raw':
      return (await import('./raw-endpoint.js')).rawEndpoint;
    case 'sdk':
      return (await import('./sdk-endpoint.js')).sdkEndpoint;
    case 'grpc':
      return (await import('./grpc-endpoint.js')).grpcEndpoint;
    case 'http':
      return (await import('./http-endpoint.js')).httpEndpoint;
  }
}

/** host and port of an address that a server of ours gave out. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}
