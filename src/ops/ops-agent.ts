/**
 * The ops agent: a small process that never loads the addon. It keeps an agent running, replaces it on command, and goes back when the new one
 * does not do well. Composed here, run by `ringside ops` (src/cli/run-ops.ts).
 */
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { errorText } from '../base/errors.js';
import { BoundedLog } from '../observe/bounded-log.js';
import type { Logger } from '../observe/logger.js';
import { BUILT_IN } from './api.js';
import type { OpsStatus, UpgradeRequest, VersionView } from './api.js';
import type { OpsConfig } from './config.js';
import { buildOpsServer } from './http-server.js';
import { JobRefused, Jobs } from './jobs.js';
import { ProgressLog } from './progress-log.js';
import { recover } from './recover.js';
import { isSigned } from './signature.js';
import { StateFile } from './state-file.js';
import { Supervisor } from './supervisor.js';
import { Versions } from './versions.js';

/** See the file's head. */
export class OpsAgent {
  readonly progress = new ProgressLog();
  readonly #state: StateFile;
  readonly #versions: Versions;
  readonly #supervisor: Supervisor;
  readonly #jobs: Jobs;
  readonly #servers: FastifyInstance[] = [];
  #inode: number | undefined;
  /** The port that it got, if it listens on one. */
  port: number | undefined;

  private constructor(
    private readonly config: OpsConfig,
    private readonly log: Logger,
  ) {
    mkdirSync(config.directory, { recursive: true, mode: 0o700 });
    this.#versions = new Versions(config.versions.directory);
    this.#state = new StateFile(config.directory, (error) =>
      log.error({ error: errorText(error) }, 'what has happened cannot be written down; it is tried again'),
    );
    this.#supervisor = new Supervisor(config.agent, config.directory, this.#state, this.#versions, log);
    this.#jobs = new Jobs(config, this.#state, this.#versions, this.#supervisor, this.progress, log);
  }

  /**
   * Listens, then starts the agent or finds the one that runs.
   * @throws Error if it cannot listen, if another ops agent does, or if its state cannot be read
   */
  static async start(config: OpsConfig, log: Logger): Promise<OpsAgent> {
    const ops = new OpsAgent(config, log);
    try {
      await ops.#listen();
    } catch (error) {
      await ops.#closeServers();
      throw error;
    }
    recover(ops.#state, ops.#versions, ops.#supervisor, ops.#jobs, log);
    return ops;
  }

  /** @throws JobRefused */
  upgrade(request: UpgradeRequest): string {
    const { publicKey } = this.config.versions;
    if (
      publicKey !== null &&
      (request.signature === undefined ||
        !isSigned(request.version, request.sha256, request.signature, publicKey))
    )
      throw new JobRefused(
        403,
        'the signature does not fit versions.publicKey, version and sha256; nothing was downloaded',
      );
    return this.#jobs.upgrade(request);
  }

  /** @throws JobRefused */
  rollback(): string {
    return this.#jobs.rollback();
  }

  /** @throws JobRefused */
  adopt(): string {
    return this.#jobs.adopt();
  }

  status(): OpsStatus {
    const { current, previous, job, last } = this.#state.now;
    const shown = job === null ? null : (({ before: _before, ...progress }) => progress)(job);
    return { current, previous, agent: this.#supervisor.status(), job: shown, last };
  }

  versions(): VersionView[] {
    const { current, previous } = this.#state.now;
    const marks = (version: string): Pick<VersionView, 'current' | 'previous'> => ({
      current: version === current,
      previous: version === previous,
    });
    return [
      ...this.#versions.list().map((one) => ({ ...one, ...marks(one.version) })),
      { version: BUILT_IN, ...marks(BUILT_IN) },
    ];
  }

  /** Hands a signal on to the agent. */
  signal(signal: NodeJS.Signals): void {
    this.#supervisor.signal(signal);
  }

  /** Ends the agent gracefully, then everything else. A job under way is finished or undone at the next start. */
  async stop(): Promise<void> {
    this.#supervisor.beginStop();
    await this.#closeServers();
    await this.#jobs.close();
    await this.#supervisor.stop();
  }

  async #listen(): Promise<void> {
    const bounded = new BoundedLog(this.log);
    const onError = (error: Error): void =>
      bounded.write('error', { error: errorText(error) }, 'a request could not be answered');
    const { socket, tcp } = this.config.http;
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    if (await answers(socket)) throw new Error(`another ops agent listens on ${socket}`);
    rmSync(socket, { force: true });
    const local = buildOpsServer(this, null, onError);
    this.#servers.push(local);
    const mask = process.umask(0o177);
    try {
      await local.listen({ path: socket });
    } finally {
      process.umask(mask);
    }
    chmodSync(socket, 0o600);
    this.#inode = statSync(socket).ino;
    if (tcp === null) return;
    const remote = buildOpsServer(this, tcp.token, onError);
    this.#servers.push(remote);
    await remote.listen({ host: tcp.host, port: tcp.port });
    const bound = remote.server.address();
    this.port = typeof bound === 'object' && bound ? bound.port : tcp.port;
  }

  async #closeServers(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
    const { socket } = this.config.http;
    if (this.#inode !== undefined && statSync(socket, { throwIfNoEntry: false })?.ino === this.#inode)
      rmSync(socket, { force: true });
  }
}

/** Whether somebody listens on a unix socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
