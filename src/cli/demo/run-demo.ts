// `ringside demo`, which is also `npm start`: an embedded registry, two agents, a server and a client application, each a
// process of its own; calls at a fixed rate without agents, through both over TCP loopback and through both over shared memory, in
// turns; and a table of what the agents add. Leaves nothing behind.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import ora from 'ora';
import { stringify } from 'yaml';
import { shownText } from '../../base/shown.js';
import { ExitError } from '../exit-error.js';
import { print, printJson, tell } from '../output.js';
import { demoPaths } from './messages.js';
import type { DemoAgent, DemoPath, RoundResult, ServeAnswer } from './messages.js';
import { OwnedProcess } from './owned-process.js';
import { summarize } from './summarize.js';
import type { PathSummary } from './summarize.js';

export interface DemoOptions {
  seconds: number;
  rate: number;
  body: number;
  rounds: number;
  json?: boolean;
}

const main = fileURLToPath(new URL('../main.js', import.meta.url));

const descriptions: Record<DemoPath, string> = {
  direct: 'no agents',
  tcp: 'two agents, apps over TCP loopback',
  shm: 'two agents, apps over shared memory',
};

export async function runDemo(options: DemoOptions): Promise<void> {
  const progress = ora({ stream: process.stderr, text: 'starting two agents' }).start();
  const directory = await mkdtemp(join(tmpdir(), 'ringside-demo-'));
  const children: OwnedProcess[] = [];
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const rounds = await measure(options, directory, children, interrupted.signal, (text) => {
      progress.text = text;
      if (!progress.isSpinning || !process.stderr.isTTY) tell(text);
    });
    progress.stop();
    report(options, rounds);
  } catch (error) {
    progress.stop();
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    await Promise.all(children.reverse().map((child) => child.stop()));
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(
  options: DemoOptions,
  directory: string,
  children: OwnedProcess[],
  interrupted: AbortSignal,
  say: (text: string) => void,
): Promise<RoundResult[][]> {
  const start = (name: string, ...args: string[]): OwnedProcess => {
    const child = new OwnedProcess(name, process.execPath, [main, ...args], { channel: true });
    children.push(child);
    return child;
  };
  const startAgent = async (name: string): Promise<DemoAgent> => {
    const socket = join(directory, name, 'agent.sock');
    const file = join(directory, `${name}.yaml`);
    await writeFile(file, stringify(agentConfig(name, socket, join(directory, 'registry'))));
    const answer = await start(name, 'agent', '--config', file).ask<{ ports: { loopback: number } }>();
    return { socket, loopback: answer.ports.loopback };
  };
  const near = await startAgent('agent-of-client');
  const far = await startAgent('agent-of-server');

  say('starting a server and a client application');
  const { direct } = await start('server application', 'demo-server').ask<ServeAnswer>({ agent: far });
  const client = start('client application', 'demo-client');
  await client.ask({ connect: { agent: near, direct } });

  const rounds: RoundResult[][] = [];
  for (let round = 0; round < options.rounds; round++) {
    const results: RoundResult[] = [];
    for (let turn = 0; turn < demoPaths.length; turn++) {
      if (interrupted.aborted) throw new ExitError('interrupted', 130);
      const path = demoPaths[(round + turn) % demoPaths.length] as DemoPath;
      say(`round ${round + 1} of ${options.rounds}: ${options.rate} calls per second, ${descriptions[path]}`);
      const load = {
        path,
        rate: options.rate,
        seconds: options.seconds / options.rounds,
        bodyBytes: options.body,
      };
      results.push(await client.ask<RoundResult>({ load }));
    }
    rounds.push(results);
  }
  return rounds;
}

function agentConfig(app: string, socketPath: string, registryDirectory: string): object {
  return {
    app,
    socket: { path: socketPath },
    loopback: { port: 0 },
    inbound: { host: '127.0.0.1', port: 0 },
    advertise: { host: '127.0.0.1' },
    admin: { enabled: false },
    registry: { directory: registryDirectory },
  };
}

function report(options: DemoOptions, rounds: readonly RoundResult[][]): void {
  const paths = summarize(rounds);
  if (options.json) {
    printJson({ paths });
  } else {
    print(`${table(paths)}\n${summary(options, paths)}`);
  }
  const failed = rounds.flat().filter((result) => result.errors > 0);
  if (failed.length > 0) {
    const { path, firstError = '' } = failed[0] as RoundResult;
    throw new ExitError(`calls failed, the first on path ${path}: ${shownText(firstError)}`, 1);
  }
}

function table(paths: Record<DemoPath, PathSummary>): string {
  const rows = new Table({
    head: [
      'path',
      'calls',
      'errors',
      'p50 µs',
      'p90 µs',
      'p99 µs',
      'mean µs',
      'agents add, p50',
      'agents add, mean',
    ],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const path of demoPaths) {
    const { requests, errors, p50Us, p90Us, p99Us, meanUs, addedP50Us, addedMeanUs } = paths[path];
    const added = path === 'direct' ? ['', ''] : [`${addedP50Us} µs`, `${addedMeanUs} µs`];
    rows.push([`${path}: ${descriptions[path]}`, requests, errors, p50Us, p90Us, p99Us, meanUs, ...added]);
  }
  return rows.toString();
}

function summary({ rate, body }: DemoOptions, { shm, tcp }: Record<DemoPath, PathSummary>): string {
  const share = Math.round((100 * shm.addedP50Us) / tcp.addedP50Us);
  return (
    `${rate} calls per second of ${body} bytes each way, rounds interleaved. p50, p90 and mean from the actual send, p99 from the intended one.\n` +
    `Over shared memory both agents together add ${shm.addedP50Us} µs (p50), ${share}% of what they add over TCP.`
  );
}
