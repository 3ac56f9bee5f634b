// A real redis-server for one test or one file of tests, on a port and in a directory of its own. Where the binary is missing, tests that
// need one are skipped, and that is said.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { ChildProcess } from 'node:child_process';
import { steadyPort } from './steady-port.js';
import { inTime, until } from './until.js';

/** Whether there is a redis-server to start. */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
if (!hasRedis) console.warn('redis-server is not installed: tests that need it are SKIPPED');

/** Whether something answers an inline PING there, be it with an error. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'));
    const end = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket
      .on('data', () => end(true))
      .on('error', () => end(false))
      .on('close', () => end(false));
  });
}

/** See the file's head. */
export class RedisProcess {
  readonly directory = mkdtempSync(join(tmpdir(), 'ringside-redis-'));
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(
    readonly port: number,
    private readonly options: readonly string[],
  ) {}

  /** Starts one; `options` are arguments as in a configuration file, such as `['--requirepass', 'x']`. */
  static async start(options: readonly string[] = []): Promise<RedisProcess> {
    const redis = new RedisProcess(steadyPort(), options);
    await redis.up();
    return redis;
  }

  /** Starts a sentinel that alone decides about the master on a port of this machine. */
  static async sentinel(master: string, masterPort: number): Promise<RedisProcess> {
    const redis = new RedisProcess(steadyPort(), []);
    const file = join(redis.directory, 'sentinel.conf');
    const lines = [
      `port ${redis.port}`,
      'bind 127.0.0.1',
      `dir ${redis.directory}`,
      `sentinel monitor ${master} 127.0.0.1 ${masterPort} 1`,
      `sentinel down-after-milliseconds ${master} 500`,
      `sentinel failover-timeout ${master} 3000`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    await redis.#start([file, '--sentinel']);
    return redis;
  }

  /** Starts a cluster of empty servers that know each other and share the slots. */
  static async cluster(count: number): Promise<RedisProcess[]> {
    const nodes = await Promise.all(
      Array.from({ length: count }, async () => {
        // Its own choice, ten thousand above the other port, may be no port at all.
        const busPort = steadyPort();
        const options = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'];
        const node = await RedisProcess.start([...options, '--cluster-port', String(busPort)]);
        return { node, busPort };
      }),
    );
    const first = nodes[0]!;
    for (const [i, { node, busPort }] of nodes.entries()) {
      const slot = (of: number): number => Math.floor((16_384 * of) / count);
      await node.ask('cluster', 'addslotsrange', slot(i), slot(i + 1) - 1);
      if (i > 0) await first.node.ask('cluster', 'meet', '127.0.0.1', node.port, busPort);
    }
    for (const { node } of nodes) {
      await until('the cluster', async () => {
        const info = String(await node.ask('cluster', 'info'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`);
      });
    }
    return nodes.map(({ node }) => node);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it again on the same port. Nothing is kept on disk: it is empty. */
  async up(): Promise<void> {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    await this.#start([...args, '--dir', this.directory, ...this.options]);
  }

  async #start(args: readonly string[]): Promise<void> {
    const child = spawn('redis-server', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.on('exit', () => resolve()));
    await until('redis-server to answer', () => answers(this.port));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await inTime('the end of redis-server', this.#ended);
  }

  /** Sends one command over a connection of its own. */
  async ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({
      port: this.port,
      host: '127.0.0.1',
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.call(command, ...args);
    } finally {
      client.disconnect();
    }
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
