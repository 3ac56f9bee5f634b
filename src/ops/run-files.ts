/**
 * What one run of an agent leaves in `runs/`: its standard error, and what it told once it served (src/cli/run-agent.ts). Files, since both must be there
 * for the next ops agent when this one has died: pipes and channels end with their reader.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** Environment variable that tells an agent where to write what it tells once it serves. */
export const READY_FILE = 'RINGSIDE_READY_FILE';

/** Standard error is cut when it is longer than this. */
const MAX_STDERR_BYTES = 1024 * 1024;
/** Its end, which has the reason of a crash, stays. */
const KEPT_STDERR_BYTES = 64 * 1024;

const ready = z.object({
  ready: z.literal(true),
  /** Port of its admin server; null: it has none; absent: that does not listen yet. */
  admin: z.int().min(1).max(65_535).nullable().optional(),
  /** What moved, where it took over. */
  handoff: z
    .object({ freezeUs: z.number(), links: z.number(), pending: z.number(), parked: z.number() })
    .optional(),
});
/** What an agent tells once it serves. */
export type Ready = z.output<typeof ready>;

/** {@link Ready}, from whatever an agent of any version told; undefined if it did not tell that. */
export function readyIn(message: unknown): Ready | undefined {
  const told = ready.safeParse(message);
  return told.success ? told.data : undefined;
}

/** See the file's head. */
export class RunFiles {
  readonly stderrFile: string;
  readonly readyFile: string;

  constructor(
    private readonly directory: string,
    run: string,
  ) {
    this.stderrFile = join(directory, `${run}.stderr`);
    this.readyFile = join(directory, `${run}.ready`);
  }

  /** Opens standard error for a new process. It is appended to, so that what comes after a cut stands behind what was kept. */
  openStderr(): number {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    return openSync(this.stderrFile, 'a', 0o600);
  }

  /** Cuts standard error where it has grown too long. What is written at this very moment may be lost. Never throws. */
  trimStderr(): void {
    this.#withStderr('r+', (file, size) => {
      if (size <= MAX_STDERR_BYTES) return;
      const kept = tailOf(file, size, KEPT_STDERR_BYTES);
      ftruncateSync(file, 0);
      writeSync(file, kept, 0, kept.length, 0);
    });
  }

  /** The end of standard error, at most that many bytes. Never throws. */
  stderrTail(bytes: number): string {
    return (this.#withStderr('r', (file, size) => tailOf(file, size, bytes)) ?? '').toString().trim();
  }

  /** What the agent told; undefined as long as it has not. */
  readReady(): Ready | undefined {
    try {
      return readyIn(JSON.parse(readFileSync(this.readyFile, 'utf8')));
    } catch {
      return undefined;
    }
  }

  /** Removes what all runs but these left: the ops agent ended before it could. */
  static removeOthers(directory: string, runs: readonly string[]): void {
    if (!existsSync(directory)) return;
    for (const name of readdirSync(directory)) {
      if (!runs.some((run) => name.startsWith(`${run}.`))) rmSync(join(directory, name), { force: true });
    }
  }

  remove(): void {
    for (const file of [this.stderrFile, this.readyFile]) rmSync(file, { force: true });
  }

  #withStderr<T>(flags: 'r' | 'r+', work: (file: number, size: number) => T): T | undefined {
    let file: number | undefined;
    try {
      file = openSync(this.stderrFile, flags);
      return work(file, fstatSync(file).size);
    } catch {
      return undefined;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}

function tailOf(file: number, size: number, bytes: number): Buffer {
  const tail = Buffer.alloc(Math.min(size, bytes));
  return tail.subarray(0, readSync(file, tail, 0, tail.length, size - tail.length));
}
