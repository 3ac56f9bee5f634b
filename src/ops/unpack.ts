/**
 * Unpacks the archive of a version: read once to judge all of it (archive-check.ts), then once more to write it, both with a bound on what
 * comes out of the compression. When this returns, everything is on disk.
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

/**
 * @param archive a tar file compressed with gzip
 * @param directory where it goes; exists and is empty
 * @throws Error that says what is wrong with the archive; `directory` may then hold a part of it
 */
export async function unpack(
  archive: string,
  directory: string,
  limits: ArchiveLimits,
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
  const tar = async (parser: NodeJS.WritableStream): Promise<void> => {
    try {
      await pipeline(createReadStream(archive), createGunzip(), bounded(limits), parser, { signal });
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

/** Lets through no more than an archive within the limits can have. */
function bounded({ maxUnpackedBytes, maxEntries }: ArchiveLimits): Transform {
  let left = maxUnpackedBytes + maxEntries * OVERHEAD_BYTES_PER_ENTRY;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      if (left < 0)
        done(new Error('it is larger unpacked than versions.maxUnpackedBytes and versions.maxEntries allow'));
      else done(null, chunk);
    },
  });
}

async function syncTree(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await sync(path);
  }
  await sync(directory);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
