// How a running agent follows its configuration file: a changed text and SIGHUP have it read, checked whole and handed to the agent, one change after
// another. Called by run-agent.ts once the agent is ready. What must stay true: no change is missed, also none that came between the reading of the file
// at the start and now, which a takeover makes long.
import type { Agent } from '../agent/agent.js';
import { identityOf } from '../agent/engine-view.js';
import { errorText } from '../base/errors.js';
import { TurnQueue } from '../base/turn-queue.js';
import { loadAgentConfig } from '../config/load-config.js';
import { thisMachine } from '../config/resolve-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { watchConfig } from '../config/watch-config.js';
import type { Logger } from '../observe/logger.js';
import type { ProcessSignals } from './process-signals.js';

/** A configuration file and what it said when the agent's configuration was read from it. */
export interface ConfigFile {
  readonly path: string;
  /** null: there was no file. */
  readonly text: string | null;
}

/**
 * Follows `file` from now on; without one SIGHUP changes nothing.
 * @returns ends it
 */
export function followConfig(
  file: ConfigFile | undefined,
  agent: Pick<Agent, 'reload' | 'config'>,
  signals: Pick<ProcessSignals, 'onHangUp'>,
  log: Pick<Logger, 'info' | 'warn' | 'error'>,
): { close(): void } {
  if (file === undefined) {
    signals.onHangUp(() => log.warn('SIGHUP: there is no configuration to read again (--config)'));
    return { close: () => undefined };
  }
  const { path, text } = file;
  const changes = new TurnQueue();
  let closed = false;
  const refuse = (error: unknown): void =>
    log.error(
      { error: errorText(error) },
      'the changed configuration was refused; the old one stays in force',
    );
  const apply = (config: AgentConfig): void => {
    void changes.run(async () => {
      if (closed) return;
      try {
        const { live, restart } = await agent.reload(config);
        const { configHash } = identityOf(agent.config);
        if (live.length > 0) log.info({ fields: live, configHash }, 'the configuration was reloaded');
        if (restart.length > 0)
          log.warn({ fields: restart }, 'these fields take effect after a restart only');
      } catch (error) {
        refuse(error);
      }
    });
  };
  const watching = watchConfig(path, { known: text, onChange: apply, onError: refuse });
  // A network that is away for a moment is no reason to refuse a change.
  const machine = thisMachine();
  signals.onHangUp(() => {
    try {
      apply(loadAgentConfig(path, machine));
    } catch (error) {
      refuse(error);
    }
  });
  return {
    close: () => {
      closed = true;
      watching.close();
      signals.onHangUp(() => log.info('SIGHUP: this agent ends; its configuration is not read again'));
    },
  };
}
