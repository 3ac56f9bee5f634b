// Where calls find their link. Two kinds exist: the ladder to an agent, and the direct endpoints of mesh-off mode.
// Client and server use either through this interface.
import type { MeshError } from '../base/errors.js';
import type { Link } from './link.js';
import type { TransportName } from './types.js';

/** What a source of links tells its owner. */
export interface LinkSourceEvents {
  onTransport(transport: TransportName): void;
}

export interface LinkSource {
  readonly transport: TransportName;
  /** The link for a call to `service` now, or why there is none: what the caller is told. */
  pick(service: string): Link | MeshError;
  /** Takes no new calls, lets those in flight finish within the drain timeout, closes all links. */
  close(): Promise<void>;
}
