/**
 * What one reader knows of the registry's directory: each instance file with its content and its lease. It reads a
 * file only when its content may have changed, and it forgets nothing because of trouble: a directory that cannot be
 * read leaves everything as it was, a file that turned to garbage leaves the instance until its lease ends.
 * Scans are serialised by the embedded registry, the only caller.
 */
import { lstat, opendir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as leases from '../../policy/lease.js';
import type { Lease, Now } from '../../policy/lease.js';
import type { Clock } from '../clock.js';
import type { Instance } from '../instance.js';
import {
  hasCode,
  identityOf,
  isInstanceFileName,
  isMissing,
  isTemporaryName,
  readInstanceFile,
  removeInstanceFile,
  sameContent,
  unchanged,
} from './instance-file.js';
import type { FileIdentity, InstanceFile, StampClock } from './instance-file.js';

/** Files looked at together. */
const PARALLEL = 32;
/** Times that a directory is read which was another one afterwards. */
const MAX_TRIES = 3;
/** Temporary files that were there for so long were left by somebody who died. */
const TEMPORARY_MAX_AGE_MS = 600_000;

interface Entry {
  instance: Instance;
  identity: FileIdentity;
  clock: StampClock | undefined;
  lease: Lease;
  live: boolean;
  /** Missing since the directory was lost or replaced: its owner is expected to write itself again. */
  awaited: boolean;
}

interface BadFile {
  identity: FileIdentity;
  wrong: string;
}

/** See the file's head. */
export class DirectoryView {
  readonly #entries = new Map<string, Entry>();
  readonly #byService = new Map<string, Map<string, Entry>>();
  /** Services whose live instances may be others than when that was asked last. */
  #changed = new Set<string>();
  readonly #bad = new Map<string, BadFile>();
  #lookedMs: number | null = null;
  #directory: string | null = null;
  #failed = false;
  /** What is half-written, and when it was seen first. */
  #temporaries = new Map<string, number>();
  #tooMany: string | null = null;

  /** @param maxInstances files beyond this many are ignored, known ones last */
  constructor(
    readonly directory: string,
    private readonly clock: Clock,
    private readonly sweepMs: number,
    private readonly maxInstances: number,
  ) {}

  /** Whether the directory has been read at least once. */
  get known(): boolean {
    return this.#lookedMs !== null;
  }

  /** Tells one directory under the same path from another; a watch on another one is blind. */
  get directoryIdentity(): string | null {
    return this.#directory;
  }

  /** What is wrong with single files or with their number; null if nothing is. */
  get problem(): string | null {
    const [first] = this.#bad;
    if (!first) return this.#tooMany;
    const more = this.#bad.size > 1 ? ` (and ${this.#bad.size - 1} more such files)` : '';
    return `${join(this.directory, first[0])} ${first[1].wrong}${more}`;
  }

  /** Instances that were read and not forgotten yet. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether a file is there and good, as far as we know. */
  has(name: string): boolean {
    return this.#entries.get(name)?.awaited === false;
  }

  /** What a file says, as far as we know; undefined where it is not there, or not good. */
  fileOf(name: string): { file: InstanceFile; identity: FileIdentity } | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.awaited || this.#bad.has(name)) return undefined;
    const { instance, identity, lease, clock } = entry;
    return { file: { instance, leaseMs: lease.leaseMs, clock }, identity };
  }

  /** The live instances of a service, in no order. */
  liveOf(service: string): Instance[] {
    return [...(this.#byService.get(service)?.values() ?? [])].flatMap(({ instance, live }) =>
      live ? [instance] : [],
    );
  }

  /** Services whose live instances may have changed since this was called last. */
  takeChanged(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /**
   * Looks through the whole directory, and decides who is live.
   * @throws an error in words if it cannot be read; everything known stays as it was then
   */
  async scan(): Promise<void> {
    const lookedMs = this.#lookedMs;
    const before = this.#now();
    try {
      const { directory, names } = await this.#listing();
      // Owners could not renew either, perhaps since before this process began.
      const blind = lookedMs === null && this.#failed;
      const replaced = this.#failed || (this.#directory !== null && this.#directory !== directory);
      this.#directory = directory;
      this.#failed = false;
      await this.look(names);
      this.#decide(new Set(names), replaced, (lease, live) =>
        lookedMs === null ? blind : live && leases.wasAway(lookedMs, this.sweepMs, lease.leaseMs, before),
      );
      this.#lookedMs = before.monotonicMs;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /**
   * Looks for what came since the last look: at files that are not known as live instances. Costs a reading of the directory's names.
   * @throws as scan() does
   */
  async lookForNew(): Promise<void> {
    const { directory, names } = await this.#listing();
    if (!this.known || directory !== this.#directory) return this.scan();
    const isKnown = (name: string): boolean => this.has(name) && this.#entries.get(name)?.live === true;
    await this.look(names.filter((name) => !isKnown(name)));
  }

  /** The names in the directory, and which directory that was: it may be replaced by another one meanwhile, which is empty at first. */
  async #listing(): Promise<{ directory: string; names: string[] }> {
    for (let tries = 1; ; tries++) {
      const directory = await this.#identify();
      const names = await this.#names();
      if (directory === (await this.#identify())) return { directory, names };
      if (tries === MAX_TRIES) throw new Error(`${this.directory} is replaced again and again`);
    }
  }

  /** @param excused whether the owner of a lease may have had no chance to renew it */
  #decide(
    present: ReadonlySet<string>,
    replaced: boolean,
    excused: (lease: Lease, live: boolean) => boolean,
  ): void {
    for (const name of this.#bad.keys()) if (!present.has(name)) this.#bad.delete(name);
    const now = this.#now();
    for (const [name, entry] of this.#entries) {
      if (excused(entry.lease, entry.live)) entry.lease = leases.afterPause(entry.lease, now);
      this.#setLive(entry, leases.isLive(entry.lease, now));
      entry.awaited = !present.has(name) && (entry.awaited || replaced);
      if (!present.has(name) && !(entry.awaited && entry.live)) this.#drop(name);
    }
  }

  #put(name: string, entry: Entry): void {
    const { service } = entry.instance;
    this.#entries.set(name, entry);
    const ofService = this.#byService.get(service);
    if (ofService === undefined) this.#byService.set(service, new Map([[name, entry]]));
    else ofService.set(name, entry);
    this.#changed.add(service);
  }

  #drop(name: string): void {
    const service = this.#entries.get(name)?.instance.service;
    if (service === undefined) return;
    this.#entries.delete(name);
    const ofService = this.#byService.get(service);
    ofService?.delete(name);
    if (ofService?.size === 0) this.#byService.delete(service);
    this.#changed.add(service);
  }

  #setLive(entry: Entry, live: boolean): void {
    if (entry.live !== live) this.#changed.add(entry.instance.service);
    entry.live = live;
  }

  async #identify(): Promise<string> {
    const { mode, uid, gid, dev, ino, birthtimeNs } = await stat(this.directory, { bigint: true });
    if ((mode & 0o002n) !== 0n) {
      throw new Error(
        `${this.directory} may be written by everyone, who could redirect requests so; chmod o-w it`,
      );
    }
    const isOurs = uid === 0n || Number(uid) === process.getuid?.();
    const isShared = (mode & 0o020n) !== 0n && (process.getgroups?.().includes(Number(gid)) ?? false);
    if (!isOurs && !isShared) {
      throw new Error(
        `${this.directory} belongs to user ${uid}, who could redirect requests; share it through a group`,
      );
    }
    return `${dev}:${ino}:${birthtimeNs}`;
  }

  async #isSameDirectory(): Promise<boolean> {
    const now = await this.#identify().catch(() => null);
    return now === this.#directory;
  }

  /** Looks at some files only. Never throws because of one file. */
  async look(names: readonly string[]): Promise<void> {
    for (let start = 0; start < names.length; start += PARALLEL) {
      await Promise.all(names.slice(start, start + PARALLEL).map((name) => this.#examine(name)));
    }
  }

  /** Removes the files of those gone for long and what the dead left half-written. Never throws. */
  async sweep(): Promise<void> {
    const now = this.#now();
    for (const [name, { lease, identity }] of this.#entries) {
      if (!leases.isRemovable(lease, now)) continue;
      const removed = await removeInstanceFile(this.directory, name, (found) =>
        unchanged(found, identity),
      ).catch(() => false);
      if (removed) this.#drop(name);
    }
    for (const [name, seenMs] of this.#temporaries) {
      if (now.monotonicMs - seenMs > TEMPORARY_MAX_AGE_MS)
        await unlink(join(this.directory, name)).catch(() => undefined);
    }
  }

  async #names(): Promise<string[]> {
    const names: string[] = [];
    const temporaries: string[] = [];
    const hardLimit = this.maxInstances * 2 + 1024;
    let cut = false;
    for await (const { name } of await opendir(this.directory)) {
      if (isInstanceFileName(name)) {
        if (names.length === hardLimit) {
          cut = true;
          break;
        }
        names.push(name);
      } else if (isTemporaryName(name) && temporaries.length < 1024) temporaries.push(name);
    }
    const { monotonicMs } = this.#now();
    this.#temporaries = new Map(
      temporaries.map((name) => [name, this.#temporaries.get(name) ?? monotonicMs]),
    );
    const tooMany = cut || names.length > this.maxInstances;
    this.#tooMany = tooMany
      ? `${this.directory} holds more than ${this.maxInstances} instance files; the rest is ignored`
      : null;
    if (!tooMany) return names;
    const isKnown = (name: string): boolean => this.#entries.has(name);
    const newcomers = names.filter((name) => !isKnown(name));
    return [...names.filter(isKnown), ...newcomers].slice(0, this.maxInstances);
  }

  async #examine(name: string): Promise<void> {
    try {
      const found = await lstat(join(this.directory, name), { bigint: true });
      const identity = identityOf(found);
      const bad = this.#bad.get(name);
      if (bad && unchanged(bad.identity, identity)) return;
      const entry = this.#entries.get(name);
      if (entry && !bad && found.isFile() && sameContent(entry.identity, identity)) {
        this.#renew(entry, identity);
        return;
      }
      // Asked before opening: opening a device can have effects of its own.
      if (found.isFile()) await this.#read(name);
      else this.#bad.set(name, { identity, wrong: 'is not a regular file' });
    } catch (error) {
      if (isMissing(error)) {
        this.#bad.delete(name);
        // With the whole directory: its owner is expected to write itself again, as the next scan finds.
        const gone = this.#entries.get(name)?.awaited === false && (await this.#isSameDirectory());
        if (gone) this.#drop(name);
        return;
      }
      // Not this file's trouble but the directory's: the next scan reports that.
      if (hasCode(error, 'ENOTDIR')) return;
      const wrong = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      this.#bad.set(name, { identity: { ino: 0n, size: 0n, mtimeNs: 0n }, wrong });
    }
  }

  async #read(name: string): Promise<void> {
    const result = await readInstanceFile(this.directory, name);
    const { identity } = result;
    if ('wrong' in result) {
      this.#bad.set(name, { identity, wrong: result.wrong });
      return;
    }
    this.#bad.delete(name);
    const known = this.#entries.get(name);
    if (!known && this.#entries.size >= this.maxInstances) return;
    const { leaseMs, clock } = result.file;
    // Who wrote itself again has not changed, and nobody need be told.
    const same = known !== undefined && isDeepStrictEqual(known.instance, result.file.instance);
    const instance = same ? known.instance : result.file.instance;
    const now = this.#nowBy(clock);
    const lease = leases.firstSeen(Number(identity.mtimeNs / 1_000_000n), leaseMs, now);
    this.#put(name, { instance, identity, clock, lease, live: leases.isLive(lease, now), awaited: false });
  }

  #renew(entry: Entry, identity: FileIdentity): void {
    const now = this.#nowBy(entry.clock);
    if (entry.identity.mtimeNs === identity.mtimeNs) {
      entry.lease = { ...entry.lease, seenMs: now.monotonicMs };
    } else {
      entry.lease = leases.renewed(entry.lease, Number(identity.mtimeNs / 1_000_000n), now);
      entry.identity = identity;
      this.#setLive(entry, leases.isLive(entry.lease, now));
    }
  }

  /** Now as the stamps of a file count: whatever the wall clock did since it was written, if they go by a clock that we have too. */
  #nowBy(stamps: StampClock | undefined): Now {
    const now = this.#now();
    if (stamps === undefined || stamps.id !== this.clock.monotonicId) return now;
    return { ...now, wallMs: stamps.offsetMs + now.monotonicMs };
  }

  #now(): Now {
    return { wallMs: this.clock.wallMs(), monotonicMs: this.clock.monotonicMs() };
  }
}
