// A host that has IPv6 only, with a unique-local address: a network namespace that is joined to the machine's by a pair of virtual Ethernet devices.
// Needs root, iproute2 and a kernel with IPv6 that lets it; where it does not, it says why.
import { spawnSync } from 'node:child_process';

const namespace = `ringside6-${process.pid}`;
const outer = `rx${process.pid % 100_000}a`;
const inner = `rx${process.pid % 100_000}b`;
/** A network that no other process of tests has. */
const prefix = `fd72:6e67:${(process.pid & 0xffff).toString(16)}:`;

function run(...commands: string[]): void {
  for (const command of commands) {
    const [program = '', ...args] = command.split(' ');
    const { status, stderr, error } = spawnSync(program, args);
    if (status !== 0) throw new Error(`${command}: ${(error ?? stderr).toString().trim()}`);
  }
}

/** See the file's head. */
export class V6Network {
  /** Address of this side. */
  readonly near = `${prefix}:1`;
  /** Address of the host, once it has one. */
  readonly host = `${prefix}:2`;
  /** Runs a process over there. */
  readonly through: [string, ...string[]] = ['ip', 'netns', 'exec', namespace];

  /** @returns the network, or why there is none */
  static make(): V6Network | string {
    if (process.getuid?.() !== 0) return 'only root may make network namespaces';
    const network = new V6Network();
    try {
      run(
        `ip netns add ${namespace}`,
        `ip link add ${outer} type veth peer name ${inner} netns ${namespace}`,
        // The address counts at once: there is nobody else who could have it.
        `ip -6 addr add ${network.near}/64 dev ${outer} nodad`,
        `ip link set ${outer} up`,
        `ip -n ${namespace} link set lo up`,
        `ip -n ${namespace} link set ${inner} up`,
      );
      return network;
    } catch (error) {
      network.remove();
      return String(error);
    }
  }

  /** Until then the host has addresses of its own only: loopback, and of this one link. */
  comeUp(): void {
    run(`ip -n ${namespace} -6 addr add ${this.host}/64 dev ${inner} nodad`);
  }

  goDown(): void {
    run(`ip -n ${namespace} -6 addr del ${this.host}/64 dev ${inner}`);
  }

  remove(): void {
    spawnSync('ip', ['link', 'del', outer]);
    spawnSync('ip', ['netns', 'del', namespace]);
  }
}
