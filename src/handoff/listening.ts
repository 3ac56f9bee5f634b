// Where an agent listens, as one process tells the next. Sockets move as they are, so a new process must be meant to listen where the
// old one does. Pure; used by src/agent/listeners.ts.
import type { AgentConfig } from '../config/resolve-config.js';
import type { AgentState } from './agent-state.js';

/** The ports an agent really listens on. */
export interface AgentPorts {
  readonly inbound: number;
  /** Absent where the loopback listener is off. */
  readonly loopback?: number;
  /** Where applications of other agents are taken in; absent where that is off. */
  readonly fallback?: number;
}

/** What of a configuration says where to listen. */
export type ListenConfig = Pick<AgentConfig, 'socket' | 'inbound' | 'loopback' | 'egressFallback'>;
/** What of an agent's state says where it listens. */
export type ListenState = Pick<
  AgentState,
  'socketPath' | 'inboundListener' | 'loopbackListener' | 'fallbackListener'
>;

interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What a successor is told. */
export function listenStateOf(config: ListenConfig, ports: AgentPorts): ListenState {
  const { socket, inbound, loopback, egressFallback } = config;
  return {
    socketPath: socket.path,
    inboundListener: { host: inbound.host, port: inbound.port, actualPort: ports.inbound },
    loopbackListener: listenerAt(loopback, ports.loopback),
    fallbackListener: listenerAt(egressFallback, ports.fallback),
  };
}

/** The ports that pass to a successor. */
export function portsOf(state: ListenState): AgentPorts {
  const { inboundListener, loopbackListener, fallbackListener } = state;
  return {
    inbound: inboundListener.actualPort,
    ...(loopbackListener === null ? {} : { loopback: loopbackListener.actualPort }),
    ...(fallbackListener === null ? {} : { fallback: fallbackListener.actualPort }),
  };
}

/** @throws Error naming what of the new process's configuration differs from where the old one listens */
export function checkListening(state: ListenState, config: ListenConfig): void {
  const { socket, inbound, loopback, egressFallback } = config;
  const same = (a: ListenAddress, b: ListenAddress): boolean => a.host === b.host && a.port === b.port;
  const sameIfAny = (was: ListenAddress | null, is: ListenAddress & { enabled: boolean }): boolean =>
    was === null ? !is.enabled : is.enabled && same(was, is);
  const changed = [
    ...(state.socketPath === socket.path ? [] : ['socket.path']),
    ...(same(state.inboundListener, inbound) ? [] : ['inbound']),
    ...(sameIfAny(state.loopbackListener, loopback) ? [] : ['loopback']),
    ...(sameIfAny(state.fallbackListener, egressFallback) ? [] : ['egressFallback']),
  ];
  if (changed.length > 0) {
    throw new Error(
      `a takeover cannot change where the agent listens, and these differ: ${changed.join(', ')}`,
    );
  }
}

function listenerAt(
  { host, port }: ListenAddress,
  actualPort: number | undefined,
): ListenState['loopbackListener'] {
  return actualPort === undefined ? null : { host, port, actualPort };
}
