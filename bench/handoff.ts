// `npm run bench:handoff`: how long an agent with many links stands still while a new process takes over, how long callers wait for it, and what
// memory both processes have while they overlap. One crowd of idle links over TCP and one over shared memory, a service that is called a
// thousand times per second, and one upgrade after the other. bench/README.md says how it is run with few descriptors and without privileges.
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { connect, serve } from '../dist/index.js';
import type { Client } from '../dist/index.js';
import { startPacer } from '../dist/native/pacer.js';
import { encodeHello } from '../dist/sdk/hello.js';
import { median } from './measure/figures.js';
import { startAgent } from './paths/agents.js';
import type { RunningAgent } from './paths/agents.js';
import { Processes } from './paths/processes.js';

const ratePerSecond = 1_000;
const quietMs = 2_000;
const atOnce = 50;
const pssEveryMs = 25;

interface Options {
  tcp: number;
  shm: number;
  upgrades: number;
}
/** What a new process says when it is ready. */
interface Ready {
  handoff?: { freezeUs: number; links: number; pending: number; parked: number };
}

function count(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('a number, at most 99999');
  return Number(text);
}

async function openIdle(port: number): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(encodeHello('bench-idle', 0, undefined));
  await once(socket, 'data');
  return socket;
}

async function inGroups<T>(total: number, open: () => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  while (all.length < total)
    all.push(...(await Promise.all(Array.from({ length: Math.min(atOnce, total - all.length) }, open))));
  return all;
}

/** Private memory and a fair share of what is shared, in bytes; 0 once the process is gone. */
function pssOf(pid: number): number {
  try {
    return 1024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Calls at a steady rate, and the longest time between two replies since it was last asked for. */
class SteadyCalls {
  failures = 0;
  #lastMs = performance.now();
  #longestMs = 0;
  readonly #pacer;

  constructor(client: Client) {
    this.#pacer = startPacer(ratePerSecond, (due) => {
      for (let i = 0; i < due; i++) {
        client.call('bench', 'echo', 'x', { timeoutMs: 60_000 }).then(
          () => this.#replied(),
          () => (this.failures += 1),
        );
      }
    });
  }
  longestGapMs(): number {
    this.#replied();
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }
  stop(): void {
    this.#pacer.stop();
  }
  #replied(): void {
    const nowMs = performance.now();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

async function run({ tcp, shm, upgrades }: Options): Promise<void> {
  const processes = new Processes();
  try {
    const directory = join(processes.directory, 'handoff');
    mkdirSync(directory);
    const limits = { links: 16_384, linksPerUid: 16_384, linksPerAddress: 16_384 };
    // Idle links answer no pings.
    const timeouts = { keepaliveMs: 600_000 };
    const takeover = { deadlineMs: 120_000, freezeMs: 10_000 };
    let agent: RunningAgent = await startAgent('agent', directory, processes, { limits, timeouts, takeover });
    const config = join(directory, 'agent.yaml');
    const server = await serve({
      ...{ app: 'bench-server', service: 'bench', agent: agent.socket },
      methods: { echo: ({ body }) => body },
    });
    const client = await connect({ app: 'bench-client', agent: agent.socket });
    const idleTcp = await inGroups(tcp, () => openIdle(agent.loopbackPort));
    const idleShm = await inGroups(shm, () =>
      connect({ app: 'bench-idle', agent: agent.socket, transport: 'shm' }),
    );
    while (
      !(await client
        .call('bench', 'echo', 'x')
        .then(() => true)
        .catch(() => false))
    )
      await sleep(50);

    const calls = new SteadyCalls(client);
    const freezesUs: number[] = [];
    const gapsMs: number[] = [];
    const quietGapsMs: number[] = [];
    const pss = { old: 0, new: 0 };
    let moved: Ready['handoff'];
    for (let i = 0; i < upgrades; i++) {
      calls.longestGapMs();
      await sleep(quietMs);
      quietGapsMs.push(calls.longestGapMs());
      const next = processes.ringside(`agent ${i + 2}`, 'agent', '--config', config, '--takeover');
      const old = agent.process;
      const watching = setInterval(() => {
        const now = { old: pssOf(old.pid), new: pssOf(next.pid) };
        if (now.old > 0 && now.old + now.new > pss.old + pss.new) Object.assign(pss, now);
      }, pssEveryMs);
      const { handoff } = await next.ask<Ready>().finally(() => clearInterval(watching));
      if (!handoff) throw new Error(`the new process took nothing over:\n${next.output}`);
      moved = handoff;
      freezesUs.push(handoff.freezeUs);
      gapsMs.push(calls.longestGapMs());
      agent = { ...agent, process: next };
    }
    calls.stop();
    const lost = idleTcp.filter((socket) => socket.destroyed || socket.readableEnded).length;
    const ms = (value: number): string => value.toFixed(1);
    const mb = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
    console.log(
      `links ${moved?.links}: ${tcp} over tcp, ${shm} over shared memory, and those of the service; ${upgrades} upgrades`,
    );
    console.log(
      `freeze: median ${ms(median(freezesUs) / 1000)} ms, longest ${ms(Math.max(...freezesUs) / 1000)} ms`,
    );
    console.log(
      `longest gap between two replies at ${ratePerSecond}/s: median ${ms(median(gapsMs))} ms, longest ${ms(Math.max(...gapsMs))} ms; ` +
        `in ${quietMs} ms without an upgrade: median ${ms(median(quietGapsMs))} ms, longest ${ms(Math.max(...quietGapsMs))} ms`,
    );
    console.log(`PSS while both run, at most: old ${mb(pss.old)} MB, new ${mb(pss.new)} MB`);
    console.log(`failed calls: ${calls.failures}; lost links: ${lost}`);
    if (calls.failures > 0 || lost > 0) process.exitCode = 1;
    for (const socket of idleTcp) socket.destroy();
    await Promise.all(idleShm.map((each) => each.close()));
    await client.close();
    await server.close();
  } finally {
    await processes.stop();
  }
}

const program = new Command('bench:handoff')
  .description('Measures upgrades of an agent with many links.')
  .option('--tcp <links>', 'idle links over TCP', count, 1_000)
  .option('--shm <links>', 'idle links over shared memory', count, 100)
  .option('--upgrades <n>', 'one after the other', count, 10);
await run(program.parse().opts<Options>());
process.exit();
