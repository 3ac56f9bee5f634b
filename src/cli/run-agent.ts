// `ringside agent`: one agent in this process, its admin server, and what the operating system's signals mean to it. SIGTERM and SIGINT
// drain and exit 0, a second one exits at once; SIGHUP or a changed file reloads.
import { startAdminServer } from '../admin/admin-server.js';
import { Agent } from '../agent/agent.js';
import { errorText } from '../base/errors.js';
import { ConfigError } from '../config/config-error.js';
import { loadAgentConfig, parseAgentConfig } from '../config/load-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { watchConfig } from '../config/watch-config.js';
import { createLogger } from '../observe/logger.js';
import type { Logger } from '../observe/logger.js';
import { ExitError } from './exit-error.js';

export async function runAgent(options: { config?: string; check?: boolean }): Promise<void> {
  const config = readConfig(options.config);
  if (options.check) {
    process.stdout.write(`${options.config ?? 'the default configuration'} is valid\n`);
    return;
  }
  const log = createLogger({ level: config.log.level, name: 'ringside' });
  const stopped = onSignals(log);
  const agent = await Agent.start(config, log).catch((error: unknown) => {
    throw new ExitError(`the agent cannot start: ${errorText(error)}`, 1);
  });
  const admin = config.admin.enabled
    ? await startAdminServer(agent.view, {
        host: config.admin.host,
        port: config.admin.port,
        onError: (error) => log.warn({ error: errorText(error) }, 'the admin server failed to answer'),
      }).catch(async (error: unknown) => {
        await agent.stop();
        throw new ExitError(`the admin server cannot start (admin.host, admin.port): ${errorText(error)}`, 1);
      })
    : undefined;
  if (admin) log.info({ admin: `http://${admin.host}:${admin.port}` }, 'the admin server listens');
  // Whoever started us as a child with a channel learns the ports without reading the log.
  process.send?.({ ready: true, ports: agent.ports, admin: admin?.port });
  process.disconnect?.();

  const reloading = options.config === undefined ? undefined : reloadOnChange(options.config, agent, log);
  await stopped;
  reloading?.close();
  await agent.drain();
  await admin?.close();
  await agent.stop();
  log.info('the agent has stopped');
}

function readConfig(path: string | undefined): AgentConfig {
  try {
    return path === undefined ? parseAgentConfig('') : loadAgentConfig(path);
  } catch (error) {
    if (error instanceof ConfigError) throw new ExitError(error.message, 2);
    throw error;
  }
}

function onSignals(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (asked) {
        log.warn({ signal }, 'asked twice to stop: leaving at once');
        process.exit(1);
      }
      asked = true;
      log.info({ signal }, 'draining; ask again to leave at once');
      resolve();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}

function reloadOnChange(path: string, agent: Agent, log: Logger): { close(): void } {
  let running = Promise.resolve();
  const apply = (config: AgentConfig): void => {
    running = running.then(async () => {
      try {
        const { live, restart } = await agent.reload(config);
        if (live.length > 0) log.info({ fields: live }, 'the configuration was reloaded');
        if (restart.length > 0)
          log.warn({ fields: restart }, 'these fields take effect after a restart only');
      } catch (error) {
        log.error(
          { error: errorText(error) },
          'the changed configuration was refused; the old one stays in force',
        );
      }
    });
  };
  const refuse = (error: unknown): void => {
    log.error(
      { error: errorText(error) },
      'the changed configuration was refused; the old one stays in force',
    );
  };
  const watching = watchConfig(path, { onChange: apply, onError: refuse });
  const hangUp = (): void => {
    try {
      apply(loadAgentConfig(path));
    } catch (error) {
      refuse(error);
    }
  };
  process.on('SIGHUP', hangUp);
  return {
    close: () => {
      watching.close();
      process.off('SIGHUP', hangUp);
    },
  };
}
