// The cast of the chaos test: two agents, a server, its client, and three bystanders, each on a path of its own that shares only some of
// the processes. Any of the four main processes can be struck and brought back; a path knows on whom it depends.
import type { AgentConfig, AgentProcess } from './agent-process.js';
import { wayTo } from './app-process.js';
import type { AppProcess, LoadSummary } from './app-process.js';
import { Mesh } from './mesh.js';
import { lastingFdCount, memfdMappings } from './proc-facts.js';
import { until } from './until.js';

export const victims = ['near', 'far', 'server', 'client'] as const;
/** A process that can be struck: the callers' agent, the servers' agent, the server, its client. */
export type Victim = (typeof victims)[number];

/** Calls from one app to one service. */
export interface Path {
  readonly name: string;
  readonly service: string;
  readonly inFlight: number;
  readonly timeoutMs: number;
  readonly dependsOn: readonly Victim[];
  readonly caller: () => AppProcess;
  readonly serving: () => AppProcess;
}

const config: AgentConfig = {
  // Short enough that an agent which is held loses its leases, and that its peers notice its silence.
  registry: { leaseMs: 1_000, sweepMs: 200 },
  timeouts: { keepaliveMs: 500 },
};
/** A welcome comes late where many processes share few cores. */
const patient = { connectTimeoutMs: 15_000 };
/** Generous, so that a busy machine fails nobody; who is stalled by a fault gets no answer at all. */
const bystanderTimeoutMs = 5_000;

interface Facts {
  readonly appLinks: number;
  readonly fds: number;
  readonly segments: number;
}

/** See the file's head. */
export class ChaosMesh {
  readonly mesh = new Mesh();
  readonly paths: readonly Path[];
  readonly #agents = {} as Record<'near' | 'far', AgentProcess>;
  readonly #apps = {} as Record<'server' | 'client' | 'neighbour' | 'stranger' | 'sharer', AppProcess>;
  #before = {} as Record<'near' | 'far', Facts>;

  private constructor() {
    const app = this.#apps;
    this.paths = [
      {
        name: 'main',
        service: 'ledger',
        inFlight: 32,
        timeoutMs: 700,
        dependsOn: ['near', 'far', 'server', 'client'],
        caller: () => app.client,
        serving: () => app.server,
      },
      {
        name: 'neighbour',
        service: 'at-near',
        inFlight: 2,
        timeoutMs: bystanderTimeoutMs,
        dependsOn: ['near'],
        caller: () => app.neighbour,
        serving: () => app.neighbour,
      },
      {
        name: 'stranger',
        service: 'at-far',
        inFlight: 2,
        timeoutMs: bystanderTimeoutMs,
        dependsOn: ['far'],
        caller: () => app.stranger,
        serving: () => app.stranger,
      },
      {
        name: 'sharer',
        service: 'at-far',
        inFlight: 2,
        timeoutMs: bystanderTimeoutMs,
        dependsOn: ['near', 'far'],
        caller: () => app.sharer,
        serving: () => app.stranger,
      },
    ];
  }

  static async start(): Promise<ChaosMesh> {
    const chaos = new ChaosMesh();
    const { mesh } = chaos;
    const agents = chaos.#agents;
    const apps = chaos.#apps;
    [agents.near, agents.far] = await Promise.all([mesh.agent('near', config), mesh.agent('far', config)]);
    [apps.server, apps.client, apps.neighbour, apps.stranger, apps.sharer] = await Promise.all([
      chaos.#server(),
      chaos.#client(),
      mesh.client('neighbour', agents.near, 'shm', patient),
      mesh.client('stranger', agents.far, 'shm', patient),
      mesh.client('sharer', agents.near, 'shm', patient),
    ]);
    await apps.neighbour.serve({ ...wayTo(agents.near, 'shm'), ...patient, service: 'at-near' }, 'serving');
    await apps.stranger.serve({ ...wayTo(agents.far, 'shm'), ...patient, service: 'at-far' }, 'serving');
    for (const { caller, service } of chaos.paths) await mesh.reachable(caller(), service);
    chaos.#before = { near: await factsOf(agents.near), far: await factsOf(agents.far) };
    return chaos;
  }

  pidOf(victim: Victim): number {
    return this.#process(victim).pid;
  }

  /** Ends a process without a word. */
  async kill(victim: Victim): Promise<void> {
    if (victim === 'near' || victim === 'far') await this.#agents[victim].kill();
    else await this.#apps[victim].process.end('SIGKILL');
  }
  /** Stops a process where it stands. */
  hold(victim: Victim): void {
    this.#process(victim).process.signal('SIGSTOP');
  }
  letGo(victim: Victim): void {
    this.#process(victim).process.signal('SIGCONT');
  }

  /** Starts a killed process again; an agent on the same ports, as in production. */
  async bringBack(victim: Victim): Promise<void> {
    switch (victim) {
      case 'near':
      case 'far': {
        const { inbound, loopback } = this.#agents[victim];
        const ports = { inbound: { port: inbound }, loopback: { port: loopback } };
        this.#agents[victim] = await this.mesh.agent(victim, { ...config, ...ports });
        break;
      }
      case 'server':
        this.#apps.server = await this.#server();
        break;
      case 'client':
        this.#apps.client = await this.#client();
        break;
    }
  }

  /** Resolves when every app is on shared memory. */
  async onSharedMemory(): Promise<void> {
    for (const [name, app] of Object.entries(this.#apps)) {
      for (const key of name === 'neighbour' || name === 'stranger' ? ['main', 'serving'] : ['main']) {
        await until(`${name} to be on shared memory`, async () => (await app.transport(key)) === 'shm');
      }
    }
  }

  /** Fails unless the agents hold what they held at first, and the registry lists what is served. */
  async nothingLeft(): Promise<void> {
    for (const victim of ['near', 'far'] as const) {
      const before = JSON.stringify(this.#before[victim]);
      let now = '';
      await until(`${victim} to hold what it held at first`, async () => {
        now = JSON.stringify(await factsOf(this.#agents[victim]));
        return now === before;
      }).catch((error: unknown) => {
        throw new Error(
          `${String(error)}: ${before}; it holds ${now}\n${this.#agents[victim].process.output}`,
        );
      });
    }
    await until('the registry to list three instances', () => this.mesh.registered().length === 3);
  }

  /** Everything that the agents still owe each other has been said: what may run has run. */
  async settled(): Promise<void> {
    for (const { caller, service } of this.paths) await this.mesh.reachable(caller(), service);
    await this.#agents.near.quiet();
    await this.#agents.far.quiet();
  }

  /** Starts the load of a path; its ids begin with `prefix`. */
  startLoad(path: Path, prefix: string): Promise<void> {
    return path.caller().startLoad({
      service: path.service,
      method: 'record',
      inFlight: path.inFlight,
      prefix,
      failurePauseMs: 20,
      callOptions: { timeoutMs: path.timeoutMs, attachments: { 'work-ms': '4' } },
    });
  }

  /** Waits until a load has had `more` answers than now. */
  async answers(path: Path, prefix: string, more: number): Promise<LoadSummary> {
    const { ok } = await path.caller().loadSoFar(prefix);
    await path.caller().reached(prefix, ok + more);
    return path.caller().loadSoFar(prefix);
  }

  #server(): Promise<AppProcess> {
    return this.mesh.server('server', this.#agents.far, { service: 'ledger', ...patient });
  }
  #client(): Promise<AppProcess> {
    return this.mesh.client('client', this.#agents.near, 'shm', patient);
  }
  #process(victim: Victim): AgentProcess | AppProcess {
    return victim === 'near' || victim === 'far' ? this.#agents[victim] : this.#apps[victim];
  }
}

async function factsOf(agent: AgentProcess): Promise<Facts> {
  const links = await agent.links();
  return {
    appLinks: links.filter(({ role }) => role === 'app').length,
    fds: lastingFdCount(agent.pid, Number(new URL(agent.adminUrl).port)),
    segments: memfdMappings(agent.pid),
  };
}
