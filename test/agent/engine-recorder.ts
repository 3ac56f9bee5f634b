// Stands in for the engine in tests of the agent's decisions: keeps what it was told in order, as words, and lets tests answer its
// questions when they want.
import type { Engine } from '../../src/native/engine.js';
import type { ClusterCommand, FlowAction, KeyValues, Verdict } from '../../src/native/engine-commands.js';

/** See the file's head. */
export class EngineRecorder {
  /** What was said, in order. */
  readonly said: string[] = [];
  readonly clusters = new Map<number, ClusterCommand>();
  readonly flows = new Map<string, FlowAction>();
  readonly verdicts = new Map<number, Verdict[]>();
  readonly #goAways: (() => void)[] = [];

  readonly commands = {
    setCluster: (cluster: ClusterCommand) => {
      this.clusters.set(cluster.id, cluster);
      const endpoints = cluster.endpoints.map(({ link, address }) => link ?? address).join(' ');
      this.said.push(`cluster ${cluster.service}/${cluster.group}: ${endpoints}`);
    },
    removeCluster: (id: number) => {
      this.clusters.delete(id);
      this.said.push(`no cluster ${id}`);
    },
    setService: (direction: string, service: string) => this.said.push(`service ${direction} ${service}`),
    removeService: (direction: string, service: string) =>
      this.said.push(`no service ${direction} ${service}`),
    setFlow: (
      direction: string,
      service: string,
      { group = '', version = '' }: KeyValues,
      action: FlowAction,
    ) => this.flows.set(`${direction} ${service}/${group}/${version}`, action),
    resolve: (token: number, verdict: Verdict) => {
      this.verdicts.set(token, [...(this.verdicts.get(token) ?? []), verdict]);
    },
  };

  flush(): void {
    this.said.push('flush');
  }

  goAway(service: string): Promise<{ acked: number; missed: number }> {
    this.said.push(`go-away ${service}`);
    return new Promise((resolve) => this.#goAways.push(() => resolve({ acked: 1, missed: 0 })));
  }

  /** All peers acknowledge what they were asked. */
  acknowledge(): void {
    for (const answer of this.#goAways.splice(0)) answer();
  }

  /** Endpoints of the one cluster of a service and group: links or addresses. */
  endpoints(service: string, group = ''): (number | string | undefined)[] {
    const found = [...this.clusters.values()].find((c) => c.service === service && c.group === group);
    return (found?.endpoints ?? []).map(({ link, address }) => link ?? address);
  }

  get asEngine(): Engine {
    return this as unknown as Engine;
  }
}
