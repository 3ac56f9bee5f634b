/**
 * One instance as one small file: its name, its text, and the file operations that several agents in several
 * processes may do at the same time without hurting each other. Files are only ever put in place whole, by rename.
 * A renewal changes nothing but the time of last modification, and keeps what lies below 1/64 s of it, the phase,
 * which is another one at each writing: so a reader can tell a renewal from new content without reading, also where
 * the file system gives an inode number to a second file. Stamps are wall-clock times for people and for agents on another machine; the file
 * says how the writer's wall clock stood to the machine's monotonic one, so that to others here a step of the wall clock changes no age.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, open, rename, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { parseInstance } from '../instance.js';
import type { Instance } from '../instance.js';

/** Largest instance file that is read. The largest that can be written is about 40 KB. */
export const MAX_FILE_BYTES = 64 * 1024;
/** Bounds on the lease that a file may claim. */
export const MIN_LEASE_MS = 100;
export const MAX_LEASE_MS = 600_000;

const FORMAT = 1;
const SUFFIX = '.json';
const TEMPORARY_PREFIX = '.tmp-';
/** Stamps are multiples of 1/64 s plus a phase in units of 1/65536 s; seconds as a double hold both exactly. */
const STAMPS_PER_SECOND = 64;
const STAMP_NS = 15_625_000n;
/** Phases of a stamp: 0 to PHASES - 1. */
export const PHASES = 1024;

/** By what the stamps of a file are to be read. */
export interface StampClock {
  /** Of the monotonic clock, see {@link Clock.monotonicId}. */
  id: string;
  /** What is to be added to the monotonic clock to have the stamps' times. */
  offsetMs: number;
}

/** What a file says. */
export interface InstanceFile {
  instance: Instance;
  leaseMs: number;
  /** Absent where its writer did not say: then stamps are times of the wall clock. */
  clock?: StampClock | undefined;
}

/** What tells one state of a file from another. */
export interface FileIdentity {
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
}

/** A file name that is safe whatever the service is called, readable for people, one for each service, group and id. */
export function fileNameOf({ service, group, id }: Pick<Instance, 'service' | 'group' | 'id'>): string {
  const slug = service
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 48);
  const hash = createHash('sha256')
    .update(JSON.stringify([service, group, id]))
    .digest('hex')
    .slice(0, 24);
  return `${slug || 'service'}-${hash}${SUFFIX}`;
}

/** Whether a directory entry claims to be an instance file. */
export function isInstanceFileName(name: string): boolean {
  return name.endsWith(SUFFIX) && !name.startsWith('.');
}

/** Whether a directory entry is what a writer or remover leaves behind if it dies half-way. */
export function isTemporaryName(name: string): boolean {
  return name.startsWith(TEMPORARY_PREFIX);
}

/** Whether one state of a file has the same content as another, judged without reading. */
export function sameContent(before: FileIdentity, after: FileIdentity): boolean {
  return (
    before.ino === after.ino &&
    before.size === after.size &&
    before.mtimeNs % STAMP_NS === after.mtimeNs % STAMP_NS
  );
}

/** Whether nothing at all happened to a file, not even a renewal. */
export function unchanged(before: FileIdentity, after: FileIdentity): boolean {
  return before.ino === after.ino && before.size === after.size && before.mtimeNs === after.mtimeNs;
}

/**
 * Reads an instance file without trusting it: no links or devices are followed, no more than the limit is read.
 * @returns what it says, or what is wrong with it; the identity of what was read in either case
 * @throws the system's error if it cannot be opened (ENOENT: it is gone)
 */
export async function readInstanceFile(
  directory: string,
  name: string,
): Promise<({ file: InstanceFile } | { wrong: string }) & { identity: FileIdentity }> {
  const handle = await open(
    join(directory, name),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  );
  try {
    const stat = await handle.stat({ bigint: true });
    const identity = identityOf(stat);
    if (!stat.isFile()) return { wrong: 'is not a regular file', identity };
    if (stat.size > MAX_FILE_BYTES) return { wrong: `is larger than ${MAX_FILE_BYTES} bytes`, identity };
    const bytes = Buffer.alloc(Number(stat.size));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    return { ...parseFile(bytes.subarray(0, bytesRead), name), identity };
  } finally {
    await handle.close();
  }
}

/** The identity in a stat taken with `bigint: true`. */
export function identityOf({ ino, size, mtimeNs }: FileIdentity): FileIdentity {
  return { ino, size, mtimeNs };
}

/** When a writing or renewal happened, as it goes into the file's time of last modification. */
export interface Stamp {
  wallMs: number;
  /** The same for all renewals of one writing; another one than that of the writing before. */
  phase: number;
}

/** The phase with which a file was written. */
export function phaseOf({ mtimeNs }: FileIdentity): number {
  return Math.round((Number(mtimeNs % STAMP_NS) * STAMPS_PER_SECOND * PHASES) / 1e9) % PHASES;
}

/** Puts an instance file in place whole, replacing what was there. */
export async function writeInstanceFile(
  directory: string,
  file: InstanceFile,
  mode: number,
  stamp: Stamp,
): Promise<FileIdentity> {
  const { leaseMs, clock, instance } = file;
  const text = `${JSON.stringify({ format: FORMAT, leaseMs, clock, instance }, null, 2)}\n`;
  const temporary = join(directory, temporaryName());
  const handle = await open(temporary, 'wx', mode);
  try {
    let identity: FileIdentity;
    try {
      await handle.chmod(mode);
      await handle.writeFile(text);
      await handle.sync();
      const seconds = secondsOf(stamp);
      await handle.utimes(seconds, seconds);
      identity = identityOf(await handle.stat({ bigint: true }));
    } finally {
      await handle.close();
    }
    await rename(temporary, join(directory, fileNameOf(file.instance)));
    return identity;
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** Renews the lease of a file. */
export async function stampInstanceFile(directory: string, name: string, stamp: Stamp): Promise<void> {
  const seconds = secondsOf(stamp);
  await utimes(join(directory, name), seconds, seconds);
}

/**
 * Removes a file if it is still the one that the caller judged. It is moved aside first and looked at there: what
 * somebody replaced or renewed in between is put back, unless its owner has been faster.
 * @returns whether it was removed by us
 */
export async function removeInstanceFile(
  directory: string,
  name: string,
  isJudged: (found: FileIdentity) => boolean,
): Promise<boolean> {
  const path = join(directory, name);
  const aside = join(directory, temporaryName());
  try {
    if (!isJudged(await lstat(path, { bigint: true }))) return false;
    await rename(path, aside);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  try {
    if (isJudged(await lstat(aside, { bigint: true }))) return true;
    await link(aside, path).catch(async (error: unknown) => {
      // Where links to other users' files are forbidden: a rename, after which an overrun owner writes itself again.
      if (!hasCode(error, 'EEXIST')) await rename(aside, path);
    });
    return false;
  } finally {
    await unlink(aside).catch(() => undefined);
  }
}

/** Whether an error says that there is no such file or directory. */
export function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT');
}

/** Whether an error is the system's error of that name. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function parseFile(bytes: Buffer, name: string): { file: InstanceFile } | { wrong: string } {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return { wrong: 'is not JSON' };
  }
  if (typeof value !== 'object' || value === null) return { wrong: 'is not an object' };
  const { format, leaseMs, clock, instance } = value as Record<string, unknown>;
  if (format !== FORMAT) return { wrong: 'has a format this version does not know' };
  if (typeof leaseMs !== 'number' || !(leaseMs >= MIN_LEASE_MS && leaseMs <= MAX_LEASE_MS)) {
    return { wrong: `has no leaseMs from ${MIN_LEASE_MS} to ${MAX_LEASE_MS}` };
  }
  const parsed = parseInstance(instance);
  if ('wrong' in parsed) return parsed;
  // Otherwise one instance could stand in two files, and a file could hide behind another's name.
  if (fileNameOf(parsed.instance) !== name)
    return { wrong: 'has a name that does not belong to its content' };
  return { file: { instance: parsed.instance, leaseMs, clock: stampClockIn(clock) } };
}

/** What makes no sense is nothing that an instance is refused for. */
function stampClockIn(claimed: unknown): StampClock | undefined {
  if (typeof claimed !== 'object' || claimed === null) return undefined;
  const { id, offsetMs } = claimed as Record<string, unknown>;
  return typeof id === 'string' && Number.isFinite(offsetMs)
    ? { id, offsetMs: offsetMs as number }
    : undefined;
}

function secondsOf({ wallMs, phase }: Stamp): number {
  const whole = Math.floor((wallMs * STAMPS_PER_SECOND) / 1000) / STAMPS_PER_SECOND;
  return whole + phase / (STAMPS_PER_SECOND * PHASES);
}

function temporaryName(): string {
  return `${TEMPORARY_PREFIX}${process.pid}-${randomBytes(8).toString('hex')}`;
}
