// A running ops agent (the built command line) with the agent that it keeps, in a directory of the test's. It is asked over its socket as
// `ringside upgrade` asks it. An agent outlives its ops agent by design, so its process is looked for at the end.
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import type { Accepted, OpsStatus, Progress, UpgradeRequest, VersionView } from '../../src/ops/api.js';
import { isRunning } from '../../src/ops/process-identity.js';
import type { OpsState } from '../../src/ops/state-file.js';
import { commandLine, mergeConfig } from './agent-process.js';
import type { AgentConfig } from './agent-process.js';
import { RunningProcess } from './running-process.js';
import { until } from './until.js';

const started = new Set<OpsProcess>();
process.once('exit', () => {
  for (const ops of started) ops.killAgents();
});

export interface Problem {
  status: number;
  detail: string;
}

/** See the file's head. */
export class OpsProcess {
  readonly home: string;
  /** Of the agent; what an app's way to it needs. */
  readonly socket: string;
  readonly loopback = 0;
  readonly opsSocket: string;
  readonly configFile: string;
  process!: RunningProcess;
  port = 0;
  readonly #connections: Agent;
  readonly #formerOutput: RunningProcess[] = [];

  private constructor(
    directory: string,
    readonly name: string,
    config: AgentConfig,
    agentConfig: AgentConfig,
  ) {
    this.home = join(directory, name);
    mkdirSync(this.home, { recursive: true });
    this.socket = join(this.home, 'agent', 'agent.sock');
    const agent = mergeConfig(
      {
        app: name,
        socket: { path: this.socket },
        loopback: { enabled: false },
        inbound: { host: '127.0.0.1', port: 0 },
        advertise: { host: '127.0.0.1' },
        admin: { port: 0 },
        registry: { directory: join(directory, 'registry'), leaseMs: 2_000, sweepMs: 200 },
      },
      agentConfig,
    );
    writeFileSync(join(this.home, 'agent.yaml'), JSON.stringify(agent));
    this.configFile = join(this.home, 'ops.yaml');
    this.opsSocket = join(this.home, 'ops', 'ops.sock');
    const whole = mergeConfig(
      {
        directory: 'ops',
        agent: { config: 'agent.yaml', backoffBaseMs: 50, backoffMaxMs: 500 },
        probation: { seconds: 1, everyMs: 100, answerMs: 10_000, minRequests: 5 },
      },
      config,
    );
    writeFileSync(this.configFile, JSON.stringify(whole));
    this.#connections = new Agent({ connect: { socketPath: this.opsSocket }, bodyTimeout: 0 });
    started.add(this);
  }

  /** The configurations of both, and nothing that runs. */
  static prepare(directory: string, name: string, config: AgentConfig = {}): OpsProcess {
    return new OpsProcess(directory, name, config, {});
  }

  /** Starts an ops agent and waits until its agent runs. */
  static async start(
    directory: string,
    name: string,
    config: AgentConfig = {},
    agentConfig: AgentConfig = {},
  ): Promise<OpsProcess> {
    const ops = new OpsProcess(directory, name, config, agentConfig);
    await ops.launch();
    await ops.running();
    return ops;
  }

  /** Starts the process, also once more after its end. */
  async launch(): Promise<void> {
    if (this.process !== undefined) this.#formerOutput.push(this.process);
    this.process = new RunningProcess(this.name, commandLine, ['ops', '--config', this.configFile]);
    const { port } = await this.process.message('readiness', (message: { ready: boolean; port?: number }) =>
      message.ready ? message : undefined,
    );
    this.port = port ?? 0;
  }

  /** Ends the ops agent without letting it do anything; its agent goes on, and holds its output open. */
  async kill(): Promise<void> {
    const exited = once(this.process.child, 'exit');
    this.process.signal('SIGKILL');
    await exited;
  }

  /** Waits until its agent serves and no job is under way. */
  running(): Promise<OpsStatus> {
    return until(`the agent of ${this.name} to run`, async () => {
      const status = await this.status();
      return status.agent.state === 'running' && status.job === null ? status : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.output}`);
    });
  }

  async ask<T>(
    method: 'GET' | 'POST',
    path: string,
    body?: object,
  ): Promise<{ statusCode: number; answer: T }> {
    const { statusCode, body: answer } = await request(`http://localhost${path}`, {
      method,
      dispatcher: this.#connections,
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return { statusCode, answer: (await answer.json()) as T };
  }

  async status(): Promise<OpsStatus> {
    return (await this.ask<OpsStatus>('GET', '/v1/status')).answer;
  }
  async versions(): Promise<VersionView[]> {
    return (await this.ask<VersionView[]>('GET', '/v1/versions')).answer;
  }

  async upgrade(wanted: UpgradeRequest): Promise<string> {
    const { statusCode, answer } = await this.ask<Accepted & Problem>('POST', '/v1/upgrade', wanted);
    if (statusCode !== 202) throw new Error(`refused: ${statusCode} ${answer.detail}`);
    return answer.job;
  }

  /** Waits for a step of the job under way, or of the last one. */
  step(step: Progress['step']): Promise<Progress> {
    return until(`${this.name} to be ${step}`, async () => {
      const { job, last } = await this.status();
      return [job, last].find((one) => one?.step === step) ?? undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.output}`);
    });
  }

  /** Upgrades, or rolls back, and waits for the outcome. */
  async outcome(wanted: UpgradeRequest | 'rollback'): Promise<Progress> {
    if (wanted === 'rollback') await this.ask('POST', '/v1/rollback');
    else await this.upgrade(wanted);
    return this.over();
  }

  /** Waits for the outcome of the job that is under way. */
  async over(): Promise<Progress> {
    const { last } = await until('the outcome', async () => {
      const status = await this.status();
      return status.job === null && status.last !== null ? status : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.output}`);
    });
    return last as Progress;
  }

  get state(): OpsState {
    return JSON.parse(readFileSync(join(this.home, 'ops', 'state.json'), 'utf8')) as OpsState;
  }

  get output(): string {
    return [...this.#formerOutput, this.process].map(({ output }) => output).join('\n');
  }

  /** Ends everything gracefully; fails if an agent is left. */
  async close(): Promise<void> {
    try {
      await this.#connections.destroy();
      const { agent, candidate } = this.state;
      if (this.process.ending === undefined && this.process.child.exitCode === null) await this.process.end();
      const left = [agent, candidate].flatMap((one) => one?.process ?? []).filter(isRunning);
      if (left.length > 0) throw new Error(`${this.name} left agents behind\n${this.output}`);
    } finally {
      this.killAgents();
      started.delete(this);
    }
  }

  /** For the end of the test run: nothing that it started outlives it. */
  killAgents(): void {
    let state: OpsState;
    try {
      state = this.state;
    } catch {
      return; // Its directory is gone: it was closed.
    }
    for (const one of [state.agent, state.candidate]) {
      if (one?.process && isRunning(one.process)) process.kill(one.process.pid, 'SIGKILL');
    }
  }
}
