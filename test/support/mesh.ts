// A mesh for one test or one file of tests: a temporary directory, agents that share a registry in it, applications. Its end is part of
// each test: everything leaves gracefully, in the order in which a release system would do it, and what stays behind
// is a failure (processes, socket files, instances in the registry, shared memory that an agent still maps).
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentProcess } from './agent-process.js';
import type { AgentConfig } from './agent-process.js';
import { AppProcess, wayTo } from './app-process.js';
import type { CallFailure, CallOptions, TestTransport } from './app-process.js';
import { memfdMappings, processExists } from './proc-facts.js';
import type { StartOptions } from './running-process.js';
import { until } from './until.js';

/** What an app must know of its agent. */
type Reached = Pick<AgentProcess, 'socket' | 'loopback'>;

/** See the file's head. */
export class Mesh {
  readonly directory = mkdtempSync(join(tmpdir(), 'ringside-e2e-'));
  readonly agents: AgentProcess[] = [];
  readonly apps: AppProcess[] = [];
  /** Done when all processes have ended, before the directory is removed. */
  readonly undo: (() => void)[] = [];

  get registryDirectory(): string {
    return join(this.directory, 'registry');
  }

  async agent(name: string, config: AgentConfig = {}, options: StartOptions = {}): Promise<AgentProcess> {
    const agent = this.launch(name, config, options);
    await agent.ready();
    return agent;
  }

  /** Starts an agent without waiting until it is ready. */
  launch(name: string, config: AgentConfig = {}, options: StartOptions = {}): AgentProcess {
    const agent = AgentProcess.launch(this.directory, name, config, options);
    this.agents.push(agent);
    return agent;
  }

  /** Lets a new process take over from an agent, which ends by itself. */
  async upgrade(agent: AgentProcess, options: StartOptions = {}): Promise<AgentProcess> {
    const next = this.successor(agent, options);
    await next.ready().catch((error: unknown) => {
      throw new Error(`${String(error)}\n${agent.process.output}`);
    });
    const { code, signal } = await agent.process.over();
    if (code !== 0) throw new Error(`the old process ended with ${code ?? signal}\n${agent.process.output}`);
    this.agents.splice(this.agents.indexOf(agent), 1);
    return next;
  }

  /** Starts a process that is to take over from an agent, without waiting for anything. */
  successor(agent: AgentProcess, options: StartOptions = {}): AgentProcess {
    const next = agent.successor(options);
    this.agents.push(next);
    return next;
  }

  async app(name: string, options: StartOptions = {}): Promise<AppProcess> {
    // Another user's process cannot write here.
    const log = options.uid === undefined ? { TEST_RAN_LOG: join(this.directory, `${name}.ran`) } : {};
    const app = await AppProcess.start(name, { ...options, env: { ...log, ...options.env } });
    this.apps.push(app);
    return app;
  }

  /** An app that serves `service` through `agent`. */
  async server(
    name: string,
    agent: Reached,
    options: { service: string } & Record<string, unknown>,
    transport: TestTransport = 'shm',
  ): Promise<AppProcess> {
    const app = await this.app(name, environmentOf(transport));
    await app.serve({ ...wayTo(agent, transport), ...options });
    return app;
  }

  /** An app that is connected to `agent` for calling. */
  async client(
    name: string,
    agent: Reached,
    transport: TestTransport = 'shm',
    options: object = {},
  ): Promise<AppProcess> {
    const app = await this.app(name, environmentOf(transport));
    await app.connect({ ...wayTo(agent, transport), ...options });
    return app;
  }

  /** Waits until calls of `client` reach a service: other agents learn of a new instance a moment after it is published. */
  async reachable(client: AppProcess, service: string, options: CallOptions = {}): Promise<void> {
    await until(`${client.name} to reach ${service}`, () =>
      client.call(service, 'who', '', options).then(
        () => true,
        (error: CallFailure) => {
          if (error.status !== 'UNAVAILABLE') throw error;
          return false;
        },
      ),
    );
  }

  /** Instances in the registry's directory. */
  registered(): string[] {
    if (!existsSync(this.registryDirectory)) return [];
    return readdirSync(this.registryDirectory).filter((file) => file.endsWith('.json'));
  }

  /** Ends everything gracefully and fails if anything is left. */
  async close(): Promise<void> {
    const problems: string[] = [];
    try {
      await this.#leave(problems);
    } catch (error) {
      problems.push(String(error));
    } finally {
      for (const { process } of [...this.apps, ...this.agents]) {
        if (process.ending === undefined) await process.end('SIGKILL');
        if (processExists(process.pid)) problems.push(`${process.name} (pid ${process.pid}) is still there`);
      }
      for (const back of this.undo) back();
      rmSync(this.directory, { recursive: true, force: true });
    }
    if (problems.length > 0) throw new Error(`the mesh did not end well:\n${problems.join('\n')}`);
  }

  async #leave(problems: string[]): Promise<void> {
    const running = this.apps.filter((app) => app.process.ending === undefined);
    const endings = await Promise.all(running.map((app) => app.process.end()));
    endings.forEach(({ code, signal }, i) => {
      if (code !== 0)
        problems.push(`${running[i]?.name} ended with ${code ?? signal}\n${running[i]?.process.output}`);
    });
    for (const agent of this.agents.filter(
      ({ process, adminUrl }) => process.ending === undefined && adminUrl !== '',
    )) {
      await until(`${agent.name} to let go of its apps and their shared memory`, async () => {
        const links = await agent.links();
        return links.every(({ role }) => role !== 'app') && memfdMappings(agent.pid) === 0;
      }).catch((error: unknown) => problems.push(`${String(error)}\n${agent.process.output}`));
    }
    const left = this.agents.filter(({ process }) => process.ending === undefined);
    await Promise.all(
      left.map(async (agent) => {
        const { code, signal } = await agent.process.end();
        if (code !== 0) problems.push(`${agent.name} ended with ${code ?? signal}\n${agent.process.output}`);
      }),
    );
    for (const agent of this.agents) {
      if (!agent.forced && existsSync(agent.socket)) problems.push(`${agent.socket} is still there`);
    }
    if (this.agents.every(({ forced }) => !forced)) {
      const files = this.registered();
      if (files.length > 0) problems.push(`instances are still registered: ${files.join(', ')}`);
    }
  }
}

function environmentOf(transport: TestTransport): StartOptions {
  return transport === 'no-addon' ? { env: { RINGSIDE_ADDON: 'off' } } : {};
}
