/**
 * Unpacks the archive of a version: read once to judge all of it (archive-check.ts), then once more to write it, both with bounds on what
 * comes out of the compression, from its first byte on. When this returns, everything is on disk. Its time is bounded by who runs it
 * (fetch-archive.ts).
 */
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, list } from 'tar';
import type { ReadEntry } from 'tar';
import { errorText } from '../base/errors.js';
import { ArchiveCheck } from './archive-check.js';
import type { ArchiveLimits } from './archive-check.js';

/** Headers and padding of an entry, at most: its own block, a long name, extended attributes. */
const OVERHEAD_BYTES_PER_ENTRY = 16 * 1024;
/** As many files are made durable at a time, where there are threads for it. */
export const SYNCS_AT_ONCE = 16;
/** What `maxRatio` does not count: a small archive is mostly padding. */
const RATIO_FREE_BYTES = 1024 * 1024;

export interface UnpackLimits extends ArchiveLimits {
  /** Bytes that may come out of the compression for each that went in, above the first MiB. */
  maxRatio: number;
}

/**
 * @param archive a tar file compressed with gzip
 * @param directory where it goes; exists and is empty
 * @throws Error that says what is wrong with the archive; `directory` may then hold a part of it
 */
export async function unpack(
  archive: string,
  directory: string,
  limits: UnpackLimits,
  signal: AbortSignal,
): Promise<void> {
  const check = new ArchiveCheck(limits);
  let wrong: Error | undefined;
  const look = (entry: ReadEntry): void => {
    try {
      if (wrong === undefined) check.add(factsOf(entry));
    } catch (error) {
      wrong = error as Error;
    }
    entry.resume();
  };
  /** How many bytes hold the whole archive; what comes behind is padding. */
  let endBytes = Infinity;
  const tar = async (parser: NodeJS.WritableStream): Promise<void> => {
    const file = createReadStream(archive);
    const bounds = bounded(limits, () => file.bytesRead);
    let passedBytes = 0;
    // The parser keeps what comes behind the end of the archive, and copies all of it whenever more comes.
    const toTheEnd = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (passedBytes >= endBytes) return done();
        passedBytes += chunk.length;
        return done(null, chunk);
      },
    });
    parser.once('eof', () => (endBytes = Math.min(endBytes, passedBytes)));
    try {
      await pipeline(file, createGunzip(), bounds, toTheEnd, parser, { signal });
    } catch (error) {
      throw wrong ?? new Error(`the archive cannot be unpacked: ${errorText(error)}`, { cause: error });
    }
  };
  const parser = list({ strict: true, onReadEntry: look }) as unknown as NodeJS.WritableStream & {
    on(event: 'ignoredEntry', listener: (entry: ReadEntry) => void): void;
  };
  parser.on('ignoredEntry', look);
  await tar(parser);
  if (wrong !== undefined) throw wrong;
  check.finish();
  await tar(extract({ cwd: directory, strict: true, preserveOwner: false }));
  await syncTree(directory);
}

function factsOf({ path, type, size, mode, linkpath }: ReadEntry) {
  return { path, type, size, mode: mode ?? 0, ...(linkpath === undefined ? {} : { linkpath }) };
}

/** Lets through no more than an archive within the limits can have, and no more than fits what was read of it so far. */
function bounded(
  { maxUnpackedBytes, maxEntries, maxRatio }: UnpackLimits,
  packedBytes: () => number,
): Transform {
  const most = maxUnpackedBytes + maxEntries * OVERHEAD_BYTES_PER_ENTRY;
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > most)
        done(new Error('it is larger unpacked than versions.maxUnpackedBytes and versions.maxEntries allow'));
      else if (bytes > RATIO_FREE_BYTES + maxRatio * packedBytes())
        done(new Error(`it grows more than versions.maxRatio, ${maxRatio} times, when it is unpacked`));
      else done(null, chunk);
    },
  });
}

/** Many at a time: the kernel writes them together then. */
async function syncTree(directory: string): Promise<void> {
  const paths: string[] = [];
  await addPathsUnder(directory, paths);
  const next = paths.values();
  const work = async (): Promise<void> => {
    for (const path of next) await sync(path);
  };
  await Promise.all(Array.from({ length: SYNCS_AT_ONCE }, work));
}

async function addPathsUnder(directory: string, paths: string[]): Promise<void> {
  paths.push(directory);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await addPathsUnder(path, paths);
    else if (entry.isFile()) paths.push(path);
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
