// A mesh whose agents are kept by ops agents; its end is theirs.
import type { AgentConfig } from './agent-process.js';
import { Mesh } from './mesh.js';
import { OpsProcess } from './ops-process.js';

/** See the file's head. */
export class KeptMesh extends Mesh {
  readonly #kept: OpsProcess[] = [];

  /** Starts an ops agent with an agent, `config` and `agentConfig` beside what every test has. */
  async keep(name: string, config: AgentConfig = {}, agentConfig: AgentConfig = {}): Promise<OpsProcess> {
    const ops = await OpsProcess.start(this.directory, name, config, agentConfig);
    this.#kept.push(ops);
    return ops;
  }

  /** As `keep`, without starting anything yet. */
  prepare(name: string, config: AgentConfig = {}): OpsProcess {
    const ops = OpsProcess.prepare(this.directory, name, config);
    this.#kept.push(ops);
    return ops;
  }

  override async close(): Promise<void> {
    try {
      // As in a release: apps first, then what serves them.
      for (const { process } of this.apps) await process.end();
      await Promise.all(this.#kept.map((ops) => ops.close()));
    } finally {
      await super.close();
    }
  }
}
