// `ringside ops`: the ops agent in this process, until SIGTERM or SIGINT, which end the agent too. SIGHUP goes to the agent. Killed outright,
// it leaves the agent running, and the next one goes on with it.
import { buildInfo } from '../base/build-info.js';
import { errorText } from '../base/errors.js';
import { ConfigError } from '../config/config-error.js';
import { createLogger } from '../observe/logger.js';
import type { LogFormat } from '../observe/logger.js';
import { loadOpsConfig } from '../ops/config.js';
import type { OpsConfig } from '../ops/config.js';
import { OpsAgent } from '../ops/ops-agent.js';
import { ExitError } from './exit-error.js';
import { print, printJson } from './output.js';
import type { ProcessSignals } from './process-signals.js';

export interface OpsCommandOptions {
  config?: string;
  check?: boolean;
  json?: boolean;
  logFormat?: LogFormat;
  signals: ProcessSignals;
}

export async function runOps(options: OpsCommandOptions): Promise<void> {
  const config = readConfig(options.config);
  if (options.check) {
    if (options.json) printJson({ valid: true, config: options.config ?? null });
    else print(`${options.config ?? 'the default configuration'} is valid`);
    return;
  }
  // The agent writes to the same place.
  if (options.logFormat !== undefined) process.env['RINGSIDE_LOG_FORMAT'] = options.logFormat;
  const log = createLogger({ level: config.log.level, name: 'ringside-ops', format: options.logFormat });
  const ops = await OpsAgent.start(config, log).catch((error: unknown) => {
    throw new ExitError(`the ops agent cannot start: ${errorText(error)}`, 1);
  });
  const { signals } = options;
  signals.onHangUp((signal) => ops.signal(signal));
  log.info(
    { ...buildInfo(), socket: config.http.socket, port: ops.port, directory: config.directory },
    'the ops agent is ready',
  );
  if (process.connected) {
    process.send?.({ ready: true, port: ops.port }, () => undefined);
    process.disconnect();
  }

  const signal = await signals.stop;
  log.info({ signal }, 'ending the agent; ask again to end it at once');
  signals.onStopAgain((again) => ops.signal(again));
  await ops.stop();
  log.info('the ops agent has stopped');
}

function readConfig(path: string | undefined): OpsConfig {
  try {
    return loadOpsConfig(path);
  } catch (error) {
    if (error instanceof ConfigError) throw new ExitError(error.message, 2);
    throw error;
  }
}
