// `ringside watcher`: the central health check over a Redis registry, until SIGTERM. Run two or more: one is active, the others stand by.
import { hostname } from 'node:os';
import { buildInfo } from '../base/build-info.js';
import { errorText } from '../base/errors.js';
import { createLogger } from '../observe/logger.js';
import type { LogFormat } from '../observe/logger.js';
import { redisAccess } from '../registry/open-registry.js';
import { Watcher } from '../watcher/watcher.js';
import { ExitError } from './exit-error.js';
import type { ProcessSignals } from './process-signals.js';

/** Options of the command, as its help names them. */
export interface WatcherCommandOptions {
  registry: string;
  caFile?: string;
  prefix: string;
  interval: number;
  timeout: number;
  failures: number;
  successes: number;
  maxShare: number;
  lease: number;
  logFormat?: LogFormat;
}

export async function runWatcher(options: WatcherCommandOptions, signals: ProcessSignals): Promise<void> {
  const { registry, caFile, prefix, interval, timeout, failures, successes, maxShare, lease } = options;
  const log = createLogger({ level: 'info', name: 'ringside-watcher', format: options.logFormat });
  const env = (name: string): string | null => process.env[name] || null;
  let redis;
  try {
    redis = redisAccess({
      url: registry,
      password: env('RINGSIDE_REGISTRY_PASSWORD'),
      sentinelPassword: env('RINGSIDE_SENTINEL_PASSWORD'),
      caFile: caFile ?? null,
    });
  } catch (error) {
    throw new ExitError(errorText(error), 2);
  }
  const watcher = new Watcher({
    redis: { ...redis, timeoutMs: Math.min(1_000, lease / 4) },
    ...{ prefix, name: `${hostname()}/${process.pid}`, intervalMs: interval, probeTimeoutMs: timeout },
    ...{ leaseMs: lease, bounds: { failures, successes, maxShare } },
    log: (level, message, fields) => log[level](fields, message),
  });
  log.info({ ...buildInfo(), registry: redis.address.shown, prefix }, 'the watcher runs');
  await signals.stopOrHangUp();
  await watcher.close();
  log.info('the watcher has stopped');
}
