// A network of its own for one side of a mesh: a namespace that is joined to the machine's by a pair of virtual Ethernet devices, and
// that can be cut off in different ways. Needs root, iproute2 and a kernel that lets it; where it does not, it says why.
import { spawnSync } from 'node:child_process';

const namespace = `ringside-${process.pid}`;
const outer = `rs${process.pid % 100_000}a`;
const inner = `rs${process.pid % 100_000}b`;
/** Addresses of a range for tests of networks (RFC 2544). */
const near = '198.18.77.1';

function run(command: string): string | undefined {
  const [program, ...args] = command.split(' ') as [string, ...string[]];
  const { status, stderr, error } = spawnSync(program, args);
  return status === 0 ? undefined : `${command}: ${(error ?? stderr).toString().trim()}`;
}

function must(...commands: string[]): void {
  for (const command of commands) {
    const problem = run(command);
    if (problem !== undefined) throw new Error(problem);
  }
}

/** See the file's head. */
export class FarNetwork {
  /** Address of the far side. */
  readonly host = '198.18.77.2';
  /** Runs a process over there. */
  readonly through: [string, ...string[]] = ['ip', 'netns', 'exec', namespace];

  /** @returns the network, or why there is none */
  static make(): FarNetwork | string {
    if (process.getuid?.() !== 0) return 'only root may make network namespaces';
    const network = new FarNetwork();
    try {
      must(
        `ip netns add ${namespace}`,
        `ip link add ${outer} type veth peer name ${inner} netns ${namespace}`,
        `ip addr add ${near}/30 dev ${outer}`,
        `ip link set ${outer} up`,
        `ip -n ${namespace} addr add ${network.host}/30 dev ${inner}`,
        `ip -n ${namespace} link set ${inner} up`,
        `ip -n ${namespace} link set lo up`,
      );
      return network;
    } catch (error) {
      network.remove();
      return String(error);
    }
  }

  remove(): void {
    run(`ip link del ${outer}`);
    run(`ip netns del ${namespace}`);
  }

  /** The cable is out: nothing passes in either direction, and nobody is told. */
  cut(): void {
    must(`ip -n ${namespace} link set ${inner} down`);
  }
  /** What this side sends falls into a hole; what the other side sends arrives, and is answered into the hole. */
  blackhole(): void {
    must(`ip neigh replace ${this.host} lladdr 02:00:00:00:00:01 dev ${outer} nud permanent`);
  }
  /** Everything passes again. */
  mend(): void {
    must(`ip -n ${namespace} link set ${inner} up`);
    run(`ip neigh del ${this.host} dev ${outer}`);
  }
  /** Resets the connections to the far side. @returns why that is not possible here; undefined if it was done */
  reset(): string | undefined {
    return run(`ss -K dst ${this.host}`);
  }
  /** Delays what this side sends. @returns why that is not possible here; undefined if it is */
  delay(ms: number): string | undefined {
    return run(`tc qdisc replace dev ${outer} root netem delay ${ms}ms`);
  }
}
