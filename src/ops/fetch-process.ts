/**
 * The process that brings an archive here: it downloads, compares the hash and unpacks, and tells the ops agent that started it (fetch-archive.ts) how
 * far it is. A process of its own, since what strangers made may block threads or take the processor for as long as it likes: it can be
 * killed at any moment, and the ops agent has nothing to wait for meanwhile.
 */
import { setPriority } from 'node:os';
import { errorText } from '../base/errors.js';
import { download } from './download.js';
import type { FetchOrder, FetchTold } from './fetch-archive.js';
import { unpack } from './unpack.js';

/** How often the progress of a download is told, at most. */
const TELL_BYTES_MS = 200;
/** What runs on this machine goes first. */
const NICENESS = 5;

const tell = (told: FetchTold): void => void process.send?.(told);

async function work({ source, sha256, archive, directory, limits }: FetchOrder): Promise<void> {
  const { signal } = new AbortController();
  let toldAtMs = 0;
  const onBytes = (bytes: number, totalBytes: number | undefined): void => {
    if (bytes !== totalBytes && performance.now() - toldAtMs < TELL_BYTES_MS) return;
    toldAtMs = performance.now();
    tell({ bytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
  };
  const found = await download(source, archive, { limits, signal, onBytes });
  tell({ step: 'verifying' });
  if (found !== sha256) throw new Error(`the archive's sha256 is ${found} instead of ${sha256}`);
  tell({ step: 'unpacking' });
  await unpack(archive, directory, limits, signal);
}

// Not `exit`, which waits for threads that may be blocked.
const end = (): void => void process.kill(process.pid, 'SIGKILL');
process.once('disconnect', end);
process.once('message', (order: FetchOrder) => {
  try {
    setPriority(NICENESS);
  } catch {
    // Where that is not allowed, it competes.
  }
  void work(order).then(
    () => process.send?.({ done: true } satisfies FetchTold, end),
    (error: unknown) => process.send?.({ failed: errorText(error) } satisfies FetchTold, end),
  );
});
