// A network of its own for one side of a mesh: a namespace that is joined to the machine's by a pair of virtual Ethernet devices, and
// that can be cut off in different ways. Needs root, iproute2 and a kernel that lets it; where it does not, it says why.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inTime } from './until.js';

const namespace = `ringside-${process.pid}`;
const outer = `rs${process.pid % 100_000}a`;
const inner = `rs${process.pid % 100_000}b`;
const slow = `rs${process.pid % 100_000}s`;
const slowPath = fileURLToPath(new URL('slow-path.py', import.meta.url));

/** How long a packet takes in each direction, give or take, and how many get lost. */
export interface Slowness {
  delayMs: number;
  jitterMs: number;
  lostPercent: number;
}
/** Four addresses, of those for tests of networks (RFC 2544), that no other process of tests has. */
const address = (i: number): string => `198.18.${(process.pid >> 6) & 255}.${4 * (process.pid & 63) + i}`;
const near = address(1);

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
  readonly host = address(2);
  /** Runs a process over there. */
  readonly through: [string, ...string[]] = ['ip', 'netns', 'exec', namespace];
  #slowPath: SlowPath | undefined;

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
  /**
   * Makes it slow in both directions, with the kernel's netem or, where that is missing, by way of a process that holds each packet.
   * @returns why neither is possible here; undefined if it is
   */
  async slow({ delayMs, jitterMs, lostPercent }: Slowness): Promise<string | undefined> {
    const netem = `root netem delay ${delayMs}ms ${jitterMs}ms loss ${lostPercent}%`;
    const missing =
      run(`tc qdisc replace dev ${outer} ${netem}`) ??
      run(`tc -n ${namespace} qdisc replace dev ${inner} ${netem}`);
    if (missing === undefined) return undefined;
    run(`tc qdisc del dev ${outer} root`);
    const path = await SlowPath.start({ delayMs, jitterMs, lostPercent });
    if (typeof path === 'string') return `${missing}; ${path}`;
    this.#slowPath = path;
    must(
      `ip link set ${slow} up`,
      `ip -n ${namespace} link set ${slow} up`,
      `ip -n ${namespace} route replace ${near}/32 dev ${slow} src ${this.host}`,
      `ip route replace ${this.host}/32 dev ${slow} src ${near}`,
    );
    return undefined;
  }
  /** Ends the slowness; what was on its way is lost. */
  async fast(): Promise<void> {
    run(`tc qdisc del dev ${outer} root`);
    run(`tc -n ${namespace} qdisc del dev ${inner} root`);
    await this.#slowPath?.end();
    this.#slowPath = undefined;
  }
}

/** slow-path.py between the two sides; its devices and the routes over them end with it. */
class SlowPath {
  readonly #ended: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    this.#ended = new Promise((resolve) => child.once('close', resolve));
  }

  /** @returns the path, or why there is none */
  static async start({ delayMs, jitterMs, lostPercent }: Slowness): Promise<SlowPath | string> {
    const args = [slowPath, slow, `/run/netns/${namespace}`, delayMs, jitterMs, lostPercent].map(String);
    const child = spawn('python3', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let [said, complained] = ['', ''];
    child.stderr.on('data', (bytes: Buffer) => (complained += bytes.toString()));
    const ready = new Promise<boolean>((resolve) => {
      child.stdout.on('data', (bytes: Buffer) => {
        said += bytes.toString();
        if (said === 'ready\n') resolve(true);
      });
      child.once('error', (error) => (complained += String(error)));
      child.once('close', () => resolve(false));
    });
    const path = new SlowPath(child);
    return (await inTime('the slow path', ready)) ? path : `${slowPath}: ${complained.trim()}`;
  }

  async end(): Promise<void> {
    // It ends with its input, and so with this process whatever becomes of that.
    this.child.stdin?.end();
    await inTime('the end of the slow path', this.#ended);
  }
}
