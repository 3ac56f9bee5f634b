// A program in another language that serves, such as those in examples/: started until it has said `serving on host:port`, and ended by its
// pid. Where its interpreter or client library is missing, the tests that need it are skipped, and that is said.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { steadyPort } from './steady-port.js';
import { inTime } from './until.js';

/** Debian's, whose modules come from packages. */
const pythonBinary = '/usr/bin/python3';

export const hasPhpredis = found('php with phpredis', 'php', ['-r', 'exit(class_exists("Redis") ? 0 : 1);']);
export const hasRedisPy = found('python3 with redis-py', pythonBinary, ['-c', 'import redis']);

export const hasHiredis = found('a C compiler with hiredis', 'cc', [
  ...['-include', 'hiredis/hiredis.h', '-E', '-x', 'c', '/dev/null', '-o', '/dev/null'],
]);

/** Compiles the caller in C (hiredis-batch.c) into a directory; answers the program. */
export function compileHiredisBatch(directory: string): string {
  const program = join(directory, 'hiredis-batch');
  const source = fileURLToPath(new URL('hiredis-batch.c', import.meta.url));
  execFileSync('cc', ['-Wall', '-Wextra', '-Werror', source, '-o', program, '-lhiredis']);
  return program;
}

/** Whether a program runs with these arguments; says so where it does not. */
export function found(what: string, program: string, args: readonly string[]): boolean {
  const there = spawnSync(program, args, { stdio: 'ignore' }).status === 0;
  if (!there) console.warn(`${what} is not installed: tests that need it are SKIPPED`);
  return there;
}

/** Interpreter and script of a file in examples/. */
export function example(file: string): [program: string, script: string] {
  const script = fileURLToPath(new URL(`../../examples/${file}`, import.meta.url));
  return [file.endsWith('.php') ? 'php' : pythonBinary, script];
}

/** See the file's head. */
export class OtherProgram {
  private constructor(
    private readonly child: ChildProcess,
    readonly address: string,
    private readonly ended: Promise<unknown>,
  ) {}

  /** Starts an example that serves. */
  static async serve(file: string, port = steadyPort()): Promise<OtherProgram> {
    const [program, script] = example(file);
    const child = spawn(program, [script, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    let output = '';
    const address = new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (bytes: Buffer) => {
        output += bytes.toString();
        const said = /serving on (\S+)\n/.exec(output);
        if (said?.[1] !== undefined) resolve(said[1]);
      });
      void ended.then(() => reject(new Error(`${file} ended: ${output}`)));
    });
    return new OtherProgram(child, await inTime(`${file} to serve`, address), ended);
  }

  get port(): number {
    return Number(this.address.slice(this.address.lastIndexOf(':') + 1));
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
