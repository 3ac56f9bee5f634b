// `ringside ops`: the ops agent in this process, until SIGTERM or SIGINT, which end the agent too. SIGHUP goes to the agent. Killed outright,
// it leaves the agent running, and the next one goes on with it.
import { errorText } from '../base/errors.js';
import { ConfigError } from '../config/config-error.js';
import { createLogger } from '../observe/logger.js';
import { loadOpsConfig } from '../ops/config.js';
import type { OpsConfig } from '../ops/config.js';
import { OpsAgent } from '../ops/ops-agent.js';
import { ExitError } from './exit-error.js';

export interface OpsCommandOptions {
  config?: string;
  check?: boolean;
}

export async function runOps(options: OpsCommandOptions): Promise<void> {
  const config = readConfig(options.config);
  if (options.check) {
    process.stdout.write(`${options.config ?? 'the default configuration'} is valid\n`);
    return;
  }
  const log = createLogger({ level: config.log.level, name: 'ringside-ops' });
  const ended = new Promise<NodeJS.Signals>((resolve) =>
    process.on('SIGTERM', resolve).on('SIGINT', resolve),
  );
  const ops = await OpsAgent.start(config, log).catch((error: unknown) => {
    throw new ExitError(`the ops agent cannot start: ${errorText(error)}`, 1);
  });
  process.on('SIGHUP', (signal) => ops.signal(signal));
  log.info(
    { socket: config.http.socket, port: ops.port, directory: config.directory },
    'the ops agent is ready',
  );
  if (process.connected) {
    process.send?.({ ready: true, port: ops.port }, () => undefined);
    process.disconnect();
  }

  const signal = await ended;
  log.info({ signal }, 'ending the agent; ask again to end it at once');
  process.once('SIGTERM', () => ops.signal('SIGTERM')).once('SIGINT', () => ops.signal('SIGINT'));
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
