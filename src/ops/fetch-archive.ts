/**
 * Lets a process of its own (fetch-process.ts) bring an archive here and unpack it, for jobs.ts. Whatever that process meets, this side goes on
 * keeping the agent running: it only listens, and kills what takes longer than the configured times.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { errorText } from '../base/errors.js';
import type { DownloadLimits } from './download.js';
import { SYNCS_AT_ONCE } from './unpack.js';
import type { UnpackLimits } from './unpack.js';
import { ownPackage } from './versions.js';

/** The bound on its memory; the list of an archive's entries is the largest part. */
const MAX_HEAP_MIB = 1_024;
/** A download that is late says so itself, before it is killed. */
const OWN_WORDS_MS = 5_000;
/** How long a process that was killed is waited for: a file system that hangs keeps it longer. */
const DIES_MS = 2_000;

export type FetchLimits = DownloadLimits & UnpackLimits & { unpackMs: number };

/** What the process is to do. */
export interface FetchOrder {
  source: string;
  sha256: string;
  /** Where the archive is written. */
  archive: string;
  /** Where its files go; exists and is empty. */
  directory: string;
  limits: FetchLimits;
}

/** What it tells. */
export type FetchTold =
  | { bytes: number; totalBytes?: number }
  | { step: 'verifying' | 'unpacking' }
  | { done: true }
  | { failed: string };

/** Called as it goes on; what they throw ends it. */
export interface FetchEvents {
  onBytes: (bytes: number, totalBytes: number | undefined) => void;
  onStep: (step: 'verifying' | 'unpacking') => void;
}

/**
 * When this returns, all files are on disk.
 * @throws Error that says what is wrong; files may then be there in part, and nobody writes there any more
 */
export async function fetchArchive(
  order: FetchOrder,
  events: FetchEvents,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { downloadMs, unpackMs } = order.limits;
  const child = fork(join(ownPackage, 'dist', 'ops', 'fetch-process.js'), [], {
    execArgv: [`--max-old-space-size=${MAX_HEAP_MIB}`],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NOTIFY_SOCKET: undefined, UV_THREADPOOL_SIZE: String(SYNCS_AT_ONCE) },
  });
  const exited = new Promise<void>((resolve) =>
    child.once('exit', () => resolve()).once('error', () => resolve()),
  );
  let timer: NodeJS.Timeout | undefined;
  let onAbort = (): void => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const within = (ms: number, text: string): void => {
        clearTimeout(timer);
        timer = setTimeout(() => reject(new Error(text)), ms);
      };
      within(
        downloadMs + OWN_WORDS_MS,
        `the download took longer than versions.downloadMs, ${downloadMs} ms`,
      );
      onAbort = () => reject(new Error('called off'));
      signal.addEventListener('abort', onAbort);
      const onTold = (told: FetchTold): void => {
        if ('done' in told) resolve();
        else if ('failed' in told) reject(new Error(told.failed));
        else if ('bytes' in told) events.onBytes(told.bytes, told.totalBytes);
        else {
          events.onStep(told.step);
          within(unpackMs, `the archive was not unpacked within versions.unpackMs, ${unpackMs} ms`);
        }
      };
      child.on('message', (told: FetchTold) => {
        try {
          onTold(told);
        } catch (error) {
          reject(new Error(errorText(error), { cause: error }));
        }
      });
      child.once('error', (error) => reject(new Error(`the archive cannot be fetched: ${error.message}`)));
      child.once('exit', (code, by) =>
        reject(
          new Error(
            `the process that fetches the archive ended ${by === null ? `with code ${code}` : `by ${by}`}`,
          ),
        ),
      );
      child.send(order, (error) => {
        if (error !== null) reject(new Error(`the archive cannot be fetched: ${error.message}`));
      });
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    await killed(child, exited);
  }
}

async function killed(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGKILL');
  const waited = new AbortController();
  await Promise.race([
    exited,
    pause(DIES_MS, undefined, { ref: false, signal: waited.signal }).catch(() => undefined),
  ]);
  waited.abort();
}
