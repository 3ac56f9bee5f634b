// What the engine is told once, when it starts: the configuration's bounds and timeouts in the engine's words. Called by the agent.
import { randomInt } from 'node:crypto';
import type { AgentConfig } from '../config/resolve-config.js';
import type { EngineOptions } from '../native/engine.js';

/** The options of an engine that keeps to `config`. */
export function engineOptions(config: AgentConfig): EngineOptions {
  const { limits, loopback, takeover, timeouts } = config;
  return {
    app: config.app,
    ...(loopback.token === null ? {} : { loopbackToken: loopback.token }),
    shmEnabled: config.shm.enabled,
    batchScheduling: config.worker.scheduling === 'auto',
    busyPollUs: config.worker.busyPollUs,
    ringBytes: config.shm.ringBytes,
    allowUids: config.socket.allowUids,
    ...(loopback.allowUids === 'any' ? { loopbackAnyUid: true } : { loopbackUids: loopback.allowUids }),
    placePeers: config.legacy.registration === 'any',
    maxLinks: limits.links,
    maxLinksPerUid: limits.linksPerUid,
    maxLinksPerAddress: limits.linksPerAddress,
    maxPending: limits.pending,
    maxParked: limits.parked,
    maxParkedBytes: limits.parkedBytes,
    maxWaiting: limits.waiting,
    maxWaitingBytes: limits.waitingBytes,
    maxFlows: limits.flows,
    // A cluster for each service and group in use; both directions share the table.
    maxClusters: 4 * (limits.services + limits.publications),
    maxOutboundBytes: limits.outboundBytesPerLink,
    maxBodyBytes: limits.bodyBytes,
    maxStreamsPerLink: limits.streamsPerLink,
    upcallsPerSecondPerLink: limits.upcallsPerSecondPerLink,
    maxLegacyMessageBytes: limits.legacyMessageBytes,
    maxLegacyBytes: limits.legacyBytes,
    legacyConnectionsPerInstance: limits.legacyConnectionsPerInstance,
    defaultTimeoutMs: timeouts.defaultMs,
    maxTimeoutMs: timeouts.maxMs,
    connectTimeoutMs: timeouts.connectMs,
    keepaliveMs: timeouts.keepaliveMs,
    takeoverDeadlineMs: takeover.deadlineMs,
    seed: randomInt(2 ** 47),
  };
}
