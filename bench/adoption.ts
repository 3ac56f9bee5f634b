// `npm run bench:adoption`: what a fleet that moves over service by service wants to know. How much two agents add between an old client and an old
// server, beside two HAProxies; what redis-benchmark reaches through an agent; how soon a new instance is called, and how long a dead one fails calls.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { quantile } from '../dist/cli/demo/summarize.js';
import { connect } from '../dist/index.js';
import type { Client } from '../dist/index.js';
import { startPacer } from '../dist/native/pacer.js';
import { median } from './measure/figures.js';
import { startAgent } from './paths/agents.js';
import type { RunningAgent } from './paths/agents.js';
import { AbsentError, executable, Processes } from './paths/processes.js';
import { startProxies } from './paths/proxies.js';

const ratePerSecond = 1_000;
const secondsPerTurn = 4;
const rounds = 5;
const attempts = 10;
const oldService = '/service/bench';
const request = JSON.stringify({ action: oldService, params: { m: 'echo', args: ['x'.repeat(1024)] } });

async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === 500) throw error;
      await sleep(20);
    }
  }
}

async function ask(redis: Redis): Promise<void> {
  const answer = await redis.get(request);
  if (!answer?.startsWith('{"ec":200,')) throw new Error(`not answered: ${String(answer)}`);
}

/** Requests at a steady rate over one connection; how long each took, in microseconds. */
function paced(redis: Redis): Promise<number[]> {
  const total = ratePerSecond * secondsPerTurn;
  const tookUs: number[] = [];
  return new Promise((resolve, reject) => {
    let sent = 0;
    const pacer = startPacer(ratePerSecond, (due) => {
      for (let i = 0; i < due && sent < total; i++) {
        sent++;
        const startMs = performance.now();
        ask(redis).then(() => {
          tookUs.push((performance.now() - startMs) * 1000);
          if (tookUs.length === total) resolve(tookUs);
        }, reject);
      }
      if (sent === total) pacer.stop();
    });
  });
}

/** An old client and an old server: directly, through two HAProxies, through two agents; then redis-benchmark. */
async function measureOldFleet(processes: Processes): Promise<void> {
  const directory = join(processes.directory, 'old');
  mkdirSync(directory);
  const { port } = await processes.script('old server', 'load/old-server.js').ask<{ port: number }>();
  const publish = [{ service: oldService, protocol: 'legacy', address: `127.0.0.1:${port}` }];
  const near = await startAgent('near', directory, processes);
  await startAgent('far', directory, processes, { publish });
  const paths = new Map<string, number>([['direct', port]]);
  try {
    const { address } = await startProxies('haproxy', `127.0.0.1:${port}`, processes);
    paths.set('haproxy', Number(address.split(':')[1]));
  } catch (error) {
    if (!(error instanceof AbsentError)) throw error;
    console.log(error.message);
  }
  paths.set('agents', near.loopbackPort);
  const clients = new Map(
    [...paths].map(([name, at]) => [
      name,
      new Redis({ port: at, host: '127.0.0.1', enableReadyCheck: false, protocol: 2 }),
    ]),
  );
  for (const redis of clients.values()) {
    redis.on('error', () => undefined);
    await retried(() => ask(redis));
  }
  const figures = new Map([...paths.keys()].map((name) => [name, [] as { p50: number; p99: number }[]]));
  for (let round = -1; round < rounds; round++) {
    const names = [...clients.keys()];
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round + 1) % names.length]!;
      const tookUs = (await paced(clients.get(name)!)).sort((a, b) => a - b);
      if (round >= 0) figures.get(name)!.push({ p50: quantile(tookUs, 0.5), p99: quantile(tookUs, 0.99) });
    }
  }
  console.log(
    `old client to old server, 1 KB, ${ratePerSecond}/s, ${rounds} rounds of ${secondsPerTurn} s; medians:`,
  );
  for (const [name, turns] of figures) {
    const added = turns.map(({ p50 }, round) => p50 - figures.get('direct')![round]!.p50);
    console.log(
      `  ${name.padEnd(8)} p50 ${median(turns.map(({ p50 }) => p50)).toFixed(0)} us, p99 ` +
        `${median(turns.map(({ p99 }) => p99)).toFixed(0)} us, adds ${median(added).toFixed(0)} us`,
    );
  }
  for (const redis of clients.values()) redis.disconnect();

  const program = executable('redis-benchmark');
  if (program === undefined) {
    console.log('redis-benchmark is not installed');
    return;
  }
  for (const pipelined of [1, 16]) {
    for (const [name, at] of paths) {
      const args = [
        '-p',
        String(at),
        '-c',
        '16',
        '-n',
        '40000',
        '-P',
        String(pipelined),
        '-q',
        'GET',
        request,
      ];
      const said = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      const rate = /([\d.]+) requests per second/.exec(said.slice(said.lastIndexOf('\r')))?.[1] ?? '?';
      console.log(`redis-benchmark -c 16 -P ${pipelined} GET, ${name}: ${rate} requests/s`);
    }
  }
}

const serveEcho = (processes: Processes, agent: RunningAgent, name: string) =>
  processes.ringside(name, 'serve-echo', '--service', 'bench', '--agent', agent.socket);

/** From the process that serves to the first call that reaches it, and from a death to the last call that it failed. */
async function measureInstances(processes: Processes): Promise<void> {
  const directory = join(processes.directory, 'instances');
  mkdirSync(directory);
  const near = await startAgent('near', directory, processes);
  const steadyAgent = await startAgent('steady', directory, processes);
  const client = await connect({ app: 'bench-client', agent: near.socket });
  const call = (): Promise<unknown> => client.call('bench', 'echo', 'x', { timeoutMs: 1_000 });

  const firstMs: number[] = [];
  for (let i = 0; i < attempts; i++) {
    const server = serveEcho(processes, steadyAgent, `server ${i}`);
    await server.ask();
    const startMs = performance.now();
    await retriedAtOnce(call);
    firstMs.push(performance.now() - startMs);
    await processes.end(server, 'SIGTERM');
    while (await succeeds(call)) await sleep(10);
  }
  console.log(
    `published to first call answered: median ${median(firstMs).toFixed(1)} ms, longest ${Math.max(...firstMs).toFixed(1)} ms`,
  );

  await serveEcho(processes, steadyAgent, 'steady server').ask();
  for (const victim of ['application', 'agent', 'silent host'] as const) {
    const failedMs: number[] = [];
    let failures = 0;
    for (let i = 0; i < attempts / 2; i++) {
      const agent = await startAgent(`${victim}-${i}`, directory, processes);
      const server = serveEcho(processes, agent, `${victim} ${i}`);
      await server.ask();
      await sleep(300);
      const { lastMs, count } = await failuresAfter(client, () => {
        if (victim === 'application') process.kill(server.pid, 'SIGKILL');
        else if (victim === 'agent') process.kill(agent.process.pid, 'SIGKILL');
        else process.kill(agent.process.pid, 'SIGSTOP');
      });
      failedMs.push(lastMs);
      failures += count;
      if (victim === 'silent host') process.kill(agent.process.pid, 'SIGCONT');
      await processes.end(server, 'SIGKILL');
      await processes.end(agent.process, 'SIGKILL');
    }
    console.log(
      `death of ${victim}: last call that it failed came ${median(failedMs).toFixed(0)} ms after (median; longest ` +
        `${Math.max(...failedMs).toFixed(0)} ms), ${(failures / failedMs.length).toFixed(1)} calls each`,
    );
  }
  await client.close();
}

const succeeds = (call: () => Promise<unknown>): Promise<boolean> =>
  call().then(
    () => true,
    () => false,
  );

/** As soon as it can be: each failure is followed by the next attempt. */
async function retriedAtOnce(call: () => Promise<unknown>): Promise<void> {
  while (!(await succeeds(call))) continue;
}

/** Calls at a steady rate before and after a death; when the last one failed that was sent to the dead, and how many did. */
async function failuresAfter(client: Client, kill: () => void): Promise<{ lastMs: number; count: number }> {
  let diedMs = Infinity;
  let lastMs = 0;
  let count = 0;
  const pacer = startPacer(ratePerSecond, (due) => {
    for (let i = 0; i < due; i++) {
      const sentMs = performance.now();
      client.call('bench', 'echo', 'x', { timeoutMs: 1_000 }).catch(() => {
        count++;
        lastMs = Math.max(lastMs, sentMs - diedMs);
      });
    }
  });
  await sleep(500);
  diedMs = performance.now();
  kill();
  await sleep(6_000);
  pacer.stop();
  return { lastMs, count };
}

const processes = new Processes();
try {
  await measureOldFleet(processes);
  await measureInstances(processes);
} finally {
  await processes.stop();
}
process.exit();
