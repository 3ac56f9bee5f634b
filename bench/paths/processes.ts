// Starts the processes of one run and ends all of them, whatever happens to the run: by their ids when it is over or interrupted, and by the
// kernel if the harness itself is killed (setpriv's parent-death signal, where there is such a command).
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { OwnedProcess } from '../../dist/cli/demo/owned-process.js';

const listenDeadlineMs = 10_000;
const pollMs = 20;

/** A peer that this machine does not have. Its path is reported as absent, the others run. */
export class AbsentError extends Error {}

/** See the file's head. */
export class Processes {
  /** Ours alone, removed at the end. */
  readonly directory = mkdtempSync(join(tmpdir(), 'ringside-bench-'));
  readonly #all: OwnedProcess[] = [];
  readonly #wrap = executable('setpriv');

  /** Starts any program. */
  program(name: string, command: string, args: readonly string[]): OwnedProcess {
    return this.#start(name, command, args, false);
  }

  /** Starts a script of the benchmark, relative to its root, that is asked over a channel. */
  script(name: string, script: string, ...args: string[]): OwnedProcess {
    return this.#start(name, process.execPath, [pathOf(script), ...args], true);
  }

  /** Starts the command `ringside`. */
  ringside(name: string, ...args: string[]): OwnedProcess {
    return this.#start(name, process.execPath, [pathOf('../dist/cli/main.js'), ...args], true);
  }

  /** Ends one before the others. */
  async end(one: OwnedProcess, signal: NodeJS.Signals): Promise<void> {
    await one.stop(signal);
    this.#all.splice(this.#all.indexOf(one), 1);
  }

  /** Fails if any process has ended on its own. */
  checkAllRun(): void {
    for (const one of this.#all) {
      if (one.ended !== undefined) throw new Error(`${one.name} ${one.ended}:\n${one.output}`);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.splice(0).map((one) => one.stop()));
    await rm(this.directory, { recursive: true, force: true });
  }

  #start(name: string, command: string, args: readonly string[], channel: boolean): OwnedProcess {
    const wrapped = this.#wrap === undefined ? [] : [this.#wrap, '--pdeathsig', 'KILL'];
    const [first, ...rest] = [...wrapped, command, ...args] as [string, ...string[]];
    const started = new OwnedProcess(name, first, rest, { channel });
    this.#all.push(started);
    return started;
  }
}

/** A file of the built benchmark. */
function pathOf(script: string): string {
  return fileURLToPath(new URL(`../${script}`, import.meta.url));
}

/** Where a command is, looked for in PATH and where Debian keeps daemons; undefined if it is not there. */
export function executable(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A TCP port on loopback that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves once a process accepts connections on a port of loopback. */
export async function listening(owner: OwnedProcess, port: number): Promise<void> {
  const deadlineMs = performance.now() + listenDeadlineMs;
  while (owner.ended === undefined && performance.now() < deadlineMs) {
    if (await accepts(port)) return;
    await sleep(pollMs);
  }
  throw new Error(`${owner.name} ${owner.ended ?? `does not listen on port ${port}`}:\n${owner.output}`);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const answer = (yes: boolean) => (): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(false));
  });
}
