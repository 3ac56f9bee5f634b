// `ringside agent`: one agent in this process, its admin server, and what the operating system's signals (process-signals.ts) mean to it. SIGTERM and
// SIGINT drain and exit 0, a second one exits at once; before the commit of a takeover they leave the old process serving. SIGHUP or a changed file reloads
// (follow-config.ts); a successor that has taken over ends it with 0.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startAdminServer } from '../admin/admin-server.js';
import type { AdminServer } from '../admin/admin-server.js';
import { Agent } from '../agent/agent.js';
import { identityOf } from '../agent/engine-view.js';
import { Filters } from '../agent/filters.js';
import { writeDurably } from '../base/durable-file.js';
import { errorText } from '../base/errors.js';
import { readConfigText } from '../config/check-document.js';
import { ConfigError, NoAddressError } from '../config/config-error.js';
import { parseAgentConfig } from '../config/load-config.js';
import { thisMachine } from '../config/resolve-config.js';
import type { AgentConfig } from '../config/resolve-config.js';
import { notifyServiceManager } from '../native/service-notice.js';
import { BoundedLog } from '../observe/bounded-log.js';
import { createLogger } from '../observe/logger.js';
import type { LogFormat, Logger } from '../observe/logger.js';
import { READY_FILE } from '../ops/run-files.js';
import { ExitError } from './exit-error.js';
import { followConfig } from './follow-config.js';
import type { ConfigFile } from './follow-config.js';
import { flushed, print, printJson, tell } from './output.js';
import type { ProcessSignals } from './process-signals.js';

/** After a takeover: the pause between two attempts to open the admin server, and how long readiness waits for it. */
const adminAgainMs = 100;
const adminPatienceMs = 10_000;
/** Between two looks for an address that others can reach. */
const networkAgainMs = 200;

export interface AgentCommandOptions {
  config?: string;
  check?: boolean;
  takeover?: boolean;
  json?: boolean;
  logFormat?: LogFormat;
  /** Of this software, as a takeover shows it to the running agent. */
  version: string;
  signals: ProcessSignals;
}

export async function runAgent(options: AgentCommandOptions): Promise<void> {
  if (options.check) return check(readConfigToCheck(options.config), options);
  const { config, file } = await readConfigOnceThereIsANetwork(options);
  const log = createLogger({ level: config.log.level, name: 'ringside', format: options.logFormat });
  const { version, commit, app, configHash } = identityOf(config);
  log.info(
    { version, commit, app, configHash },
    options.takeover ? 'the agent takes over' : 'the agent starts',
  );
  if (file?.text === null) {
    log.warn(
      { config: file.path },
      'the configuration file does not exist: every setting has its default, and the file is followed once it is there',
    );
  }
  const { signals } = options;
  const asked = new AbortController();
  const stopped = signals.stop.then((signal) => {
    log.info({ signal }, 'asked to end; ask again to leave at once');
    asked.abort();
  });
  signals.onStopAgain((signal) => {
    log.warn({ signal }, 'asked twice to stop: leaving at once');
    process.exit(1);
  });
  if (signals.stopping && !options.takeover) return; // before anything was opened
  const agent = options.takeover
    ? await Agent.takeOver(config, log, `ringside ${options.version}`, asked.signal).catch(
        (error: unknown) => {
          throw new ExitError(`the takeover failed: ${errorText(error)}`, 1);
        },
      )
    : await Agent.start(config, log).catch((error: unknown) => {
        throw new ExitError(`the agent cannot start: ${errorText(error)}`, 1);
      });
  const following = followConfig(file, agent, signals, log);
  const leaving = new AbortController();
  const opening = config.admin.enabled
    ? openAdmin(agent, config, log, options.takeover === true, leaving.signal)
    : undefined;
  const opened = await (options.takeover
    ? Promise.race([opening, pause(adminPatienceMs, undefined, { ref: false })])
    : opening?.catch(async (error: unknown) => {
        await agent.stop();
        throw new ExitError(`the admin server cannot start (admin.host, admin.port): ${errorText(error)}`, 1);
      }));
  const { last } = agent.handoff;
  const admin = config.admin.enabled ? { admin: opened?.port } : { admin: null };
  tellStarter(
    { ready: true, ports: agent.ports, ...admin, ...(last === null ? {} : { handoff: last }) },
    log,
  );

  const notify = (text: string): void => {
    const problem = notifyServiceManager(text);
    if (problem !== undefined) log.warn({ problem }, 'the service manager cannot be told (NOTIFY_SOCKET)');
  };
  notify(options.takeover ? `MAINPID=${process.pid}\nREADY=1` : 'READY=1');

  const drained = stopped.then(async () => {
    notify('STOPPING=1');
    await agent.drain();
    return false;
  });
  const handedOver = await Promise.race([drained, agent.handedOver.then(() => true)]);
  following.close();
  leaving.abort();
  await (await opening)?.close();
  if (handedOver) {
    agent.leave();
    log.info('the agent has left; another process goes on');
    // Timers of the registry would keep this process, and have nothing left to do.
    process.exit(0);
  }
  await agent.stop();
  log.info('the agent has stopped');
}

/** Says whether an agent could be started with this configuration, and does nothing. */
async function check(
  config: AgentConfig,
  { config: file, json, signals }: AgentCommandOptions,
): Promise<void> {
  void signals.stop.then(() => process.exit(1));
  await Filters.load(config.filters).catch((error: unknown) => {
    throw new ExitError(`configuration ${file ?? ''}: filters: ${errorText(error)}`, 2);
  });
  if (json) printJson({ valid: true, config: file ?? null, configHash: identityOf(config).configHash });
  else print(`${file ?? 'the default configuration'} is valid`);
  // What a filter's module has begun would keep this process.
  await flushed();
  process.exit(0);
}

/**
 * Tells whoever started us that we serve: over Node's channel where there is one, so that nobody has to read the log, and in a file where one is
 * named, which is there also when the other end of the channel is gone.
 */
function tellStarter(readiness: object, log: Logger): void {
  const file = process.env[READY_FILE];
  try {
    if (file !== undefined) writeDurably(file, `${JSON.stringify(readiness)}\n`);
  } catch (error) {
    log.warn({ error: errorText(error) }, `the file of ${READY_FILE} cannot be written`);
  }
  if (!process.connected) return;
  process.send?.(readiness, () => undefined);
  process.disconnect();
}

/**
 * After a takeover the other process closes its admin server in its own time, or never if it hangs. Nothing of that may end
 * this one, which has all the traffic, so it is tried until it works.
 * @returns undefined where this process left before
 */
async function openAdmin(
  agent: Agent,
  { admin: { host, port } }: AgentConfig,
  log: Logger,
  afterTakeover: boolean,
  leaving: AbortSignal,
): Promise<AdminServer | undefined> {
  const bounded = new BoundedLog(log);
  const onError = (error: Error): void =>
    bounded.write('warn', { error: errorText(error) }, 'the admin server failed to answer');
  let sayAtMs = performance.now() + adminPatienceMs;
  while (!leaving.aborted) {
    try {
      const admin = await startAdminServer(agent.view, { host, port, onError });
      log.info({ admin: `http://${admin.host}:${admin.port}` }, 'the admin server listens');
      return admin;
    } catch (error) {
      if (!afterTakeover) throw error;
      if (performance.now() > sayAtMs) {
        sayAtMs = Infinity;
        log.warn(
          { error: errorText(error) },
          'the admin server cannot start (admin.host, admin.port); it is tried again by itself',
        );
      }
      await pause(adminAgainMs);
    }
  }
  return undefined;
}

/** A configuration and, where it stands in one, the file that is followed. */
interface ReadConfig {
  readonly config: AgentConfig;
  readonly file?: ConfigFile;
}

/** @param mayBeAbsent a file that does not exist means all defaults */
function readConfig(
  path: string | undefined,
  { machine = thisMachine(), mayBeAbsent = false } = {},
): ReadConfig | NoAddressError {
  try {
    if (path === undefined) return { config: parseAgentConfig('', { machine }) };
    const text = mayBeAbsent && !existsSync(path) ? null : readConfigText(path);
    return {
      config: parseAgentConfig(text ?? '', { source: path, directory: dirname(path), machine }),
      file: { path, text },
    };
  } catch (error) {
    if (error instanceof NoAddressError) return error;
    if (error instanceof ConfigError) throw new ExitError(error.message, 2);
    throw error;
  }
}

/** A configuration may be right although this machine has no network at the moment. */
function readConfigToCheck(path: string | undefined): AgentConfig {
  const found = readConfig(path);
  if (!(found instanceof NoAddressError)) return found.config;
  tell(`here and now an agent would wait for a network (advertise.waitMs): ${found.message}`);
  const addresses = [{ address: '192.0.2.1', family: 'IPv4', internal: false }] as const;
  const anywhere = readConfig(path, { machine: { ...thisMachine(), addresses } });
  if (anywhere instanceof NoAddressError) throw new ExitError(anywhere.message, 2);
  return anywhere.config;
}

/** Machines start their services before their network, now and then. */
async function readConfigOnceThereIsANetwork({
  config,
  takeover,
  logFormat,
  signals,
}: AgentCommandOptions): Promise<ReadConfig> {
  const startMs = performance.now();
  let told = false;
  for (;;) {
    // A successor without the file would not listen where the running agent does.
    const found = readConfig(config, { mayBeAbsent: takeover !== true });
    if (!(found instanceof NoAddressError)) return found;
    if (performance.now() - startMs >= found.waitMs) throw new ExitError(found.message, 1);
    if (!told) {
      told = true;
      const log = createLogger({ level: 'info', name: 'ringside', format: logFormat });
      log.warn({ waitMs: found.waitMs, problem: found.message }, 'waiting for a network (advertise.waitMs)');
    }
    await Promise.race([pause(networkAgainMs), signals.stop]);
    if (signals.stopping) process.exit(0); // before anything was opened
  }
}
