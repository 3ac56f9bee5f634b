// A running agent (the built command line) with a configuration of the test's: where it listens, its log as objects, its admin
// server's answers.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterView, FlowView, LimitView, LinkView, ReadyView } from '../../src/observe/agent-view.js';
import { RunningProcess } from './running-process.js';
import type { StartOptions } from './running-process.js';
import { steadyPort } from './steady-port.js';
import { until } from './until.js';

/** The command line's entry. */
export const commandLine = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export type AgentConfig = Record<string, unknown>;
export type LogLine = Record<string, unknown> & { msg: string };

interface Ready {
  ready: true;
  ports: { inbound: number; loopback?: number };
  admin?: number | null;
}

/** See the file's head. */
export class AgentProcess {
  socket = '';
  loopback = 0;
  inbound = 0;
  adminUrl = '';
  /** True once the test ended it by force: what it left is not its fault. */
  forced = false;

  constructor(
    readonly process: RunningProcess,
    readonly configFile: string,
  ) {}

  /** Starts an agent and waits until it is ready. Its files are in `directory/name`. */
  static async start(
    directory: string,
    name: string,
    config: AgentConfig = {},
    options: StartOptions = {},
  ): Promise<AgentProcess> {
    const agent = AgentProcess.launch(directory, name, config, options);
    await agent.ready();
    return agent;
  }

  /** Starts the process without waiting for anything. */
  static launch(
    directory: string,
    name: string,
    config: AgentConfig = {},
    options: StartOptions = {},
  ): AgentProcess {
    const home = join(directory, name);
    mkdirSync(home, { recursive: true });
    const socket = join(home, 'agent.sock');
    const whole = mergeConfig(
      {
        app: name,
        socket: { path: socket },
        loopback: { port: steadyPort() },
        inbound: { host: '127.0.0.1', port: steadyPort() },
        advertise: { host: '127.0.0.1' },
        admin: { port: 0 },
        registry: { directory: join(directory, 'registry') },
      },
      config,
    );
    const file = join(home, 'agent.yaml');
    writeFileSync(file, JSON.stringify(whole));
    const process = new RunningProcess(name, commandLine, ['agent', '--config', file], options);
    const agent = new AgentProcess(process, file);
    agent.socket = (whole['socket'] as { path: string }).path;
    return agent;
  }

  /** Starts another process with the same configuration that takes over from this one. */
  successor(options: StartOptions = {}): AgentProcess {
    const args = ['agent', '--config', this.configFile, '--takeover'];
    const next = new AgentProcess(new RunningProcess(this.name, commandLine, args, options), this.configFile);
    next.socket = this.socket;
    return next;
  }

  async ready(): Promise<void> {
    const { ports, admin } = await this.process.message('readiness', (message: Ready) =>
      message.ready ? message : undefined,
    );
    this.inbound = ports.inbound;
    this.loopback = ports.loopback ?? 0;
    this.adminUrl = admin == null ? '' : `http://127.0.0.1:${admin}`;
  }

  get name(): string {
    return this.process.name;
  }
  get pid(): number {
    return this.process.pid;
  }

  /** Its log so far. */
  get log(): LogLine[] {
    return logLines(this.process.stdout);
  }

  /** A line of the log that is there already or comes. */
  logged(what: string, match: (line: LogLine) => boolean): Promise<LogLine> {
    return this.process.seen(`a log line: ${what}`, (stdout) => logLines(stdout).find(match));
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(new URL(path, this.adminUrl), {
      // A connection kept for later would be a descriptor of the agent that comes and goes.
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(10_000),
    });
    return (await response.json()) as T;
  }
  readiness(): Promise<ReadyView> {
    return this.get('/ready');
  }
  counters(): Promise<Record<string, number>> {
    return this.get('/counters');
  }
  links(): Promise<LinkView[]> {
    return this.get('/links');
  }
  clusters(): Promise<ClusterView[]> {
    return this.get('/clusters');
  }
  flows(): Promise<Omit<FlowView, 'sketch'>[]> {
    return this.get('/flows');
  }
  async limit(name: string): Promise<LimitView> {
    const found = (await this.get<LimitView[]>('/limits')).find((limit) => limit.name === name);
    if (!found) throw new Error(`the agent has no limit ${name}`);
    return found;
  }
  /** Waits until no request is under way in this agent. */
  async quiet(): Promise<void> {
    await until(`no pending request in ${this.name}`, async () => {
      const names = ['pending', 'parked', 'waiting'];
      const limits = await Promise.all(names.map((name) => this.limit(name)));
      return limits.every(({ used }) => used === 0);
    });
  }

  /** Puts a changed configuration in the place of the old one, as editors and Kubernetes do. */
  change(changes: AgentConfig): void {
    const config = JSON.parse(readFileSync(this.configFile, 'utf8')) as AgentConfig;
    const beside = `${this.configFile}.new`;
    writeFileSync(beside, JSON.stringify(mergeConfig(config, changes)));
    renameSync(beside, this.configFile);
  }

  /** Ends it without letting it do anything. */
  async kill(): Promise<void> {
    this.forced = true;
    await this.process.end('SIGKILL');
  }
}

function logLines(stdout: string): LogLine[] {
  const end = stdout.lastIndexOf('\n') + 1;
  return stdout
    .slice(0, end)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
}

/** `base` with what `changes` says instead, object by object. */
export function mergeConfig(base: AgentConfig, changes: AgentConfig): AgentConfig {
  const merged = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const before = merged[key];
    merged[key] = isPlain(before) && isPlain(value) ? mergeConfig(before, value) : value;
  }
  return merged;
}

function isPlain(value: unknown): value is AgentConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
