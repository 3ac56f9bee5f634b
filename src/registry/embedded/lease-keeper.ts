/**
 * Keeps one instance registered: writes its file, renews the lease, writes the file again when somebody removed it,
 * and takes it away at the end. Trouble is reported and tried again for as long as the registration lives. A newer
 * registration of the same instance, from a process that took over, is left in peace.
 */
import { lstat, mkdir, chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { errorText, MeshError } from '../../base/errors.js';
import { TurnQueue } from '../../base/turn-queue.js';
import { nextRenewalMs } from '../../policy/lease.js';
import type { Clock } from '../clock.js';
import { validInstance } from '../instance.js';
import type { Instance } from '../instance.js';
import type { InstanceChange, Registration } from '../registry.js';
import {
  fileNameOf,
  isMissing,
  PHASES,
  phaseOf,
  readInstanceFile,
  removeInstanceFile,
  sameContent,
  stampInstanceFile,
  writeInstanceFile,
} from './instance-file.js';
import type { FileIdentity, InstanceFile, Stamp, StampClock } from './instance-file.js';

/** Renewals within which a file is written again that does not say by what clock it is stamped, on average. */
const RENEWALS_UNTIL_WRITTEN = 8;

/** A good file, and the state of it that was read. */
interface FoundFile {
  file: InstanceFile;
  identity: FileIdentity;
}

/** What a keeper needs from the registry it belongs to. */
export interface KeeperContext {
  directory: string;
  /** Permission bits of the directory where it has to be made. */
  directoryMode: number;
  leaseMs: number;
  clock: Clock;
  random: () => number;
  /** What the registry knows a file to say, so that it need not be read again. */
  known(fileName: string): FoundFile | undefined;
  /** Called after each change of the file, so that the registry's own watchers see it soon. */
  changed(fileName: string): Promise<void>;
  /** Reports what is wrong; null: nothing any more. */
  problem(text: string | null): void;
  /** Called once, when nothing is kept any more. */
  ended(): void;
}

/** See the file's head. */
export class LeaseKeeper implements Registration {
  readonly fileName: string;
  #instance: Instance;
  #written: FileIdentity | null = null;
  /** Whether the file says something else than it should. */
  #stale = false;
  #phase: number;
  /** As the file says it that is there. */
  #stampClock: StampClock | undefined;
  /** Whether the next renewal was brought forward already. */
  #hurried = false;
  #failures = 0;
  #state: 'kept' | 'superseded' | 'ended' = 'kept';
  #cancelTimer: () => void = () => undefined;
  /** Everything that touches the file waits for what was asked before. */
  readonly #queue = new TurnQueue();

  constructor(
    instance: Instance,
    private readonly context: KeeperContext,
  ) {
    this.#instance = instance;
    this.fileName = fileNameOf(instance);
    this.#phase = Math.floor(context.random() * PHASES);
  }

  /** See {@link Registration.instance}. */
  get instance(): Instance {
    return this.#instance;
  }

  /** Writes the file for the first time. @throws {MeshError} if that fails; nothing is kept then. */
  async start(): Promise<void> {
    try {
      await this.#queue.run(async () => {
        const found = await this.#found();
        if (this.#isRival(found)) {
          throw new MeshError('ALREADY_EXISTS', `${this.#instance.id} has a newer registration`, {
            mayHaveRun: false,
          });
        }
        if (found === undefined || !this.#isOurs(found)) await this.#write();
        else await this.#goOnWith(found);
      });
    } catch (error) {
      this.#end();
      if (error instanceof MeshError) throw error;
      throw unavailable(`cannot register ${this.#instance.id}`, error);
    }
    this.#schedule();
  }

  /** See {@link Registration.update}. */
  async update(change: InstanceChange): Promise<void> {
    const valid = validInstance({ ...this.#instance, ...change });
    const { id, service, group, epoch } = this.#instance;
    const instance = Object.freeze({ ...valid, id, service, group, epoch });
    await this.#queue.run(async () => {
      if (this.#state !== 'kept') {
        throw new MeshError('FAILED_PRECONDITION', `${id} is not registered any more`, { mayHaveRun: false });
      }
      // Kept even if the write fails: then the next renewal writes it.
      this.#instance = instance;
      this.#stale = true;
      try {
        await this.#write();
      } catch (error) {
        throw unavailable(`cannot update ${id}`, error);
      }
    });
  }

  /** See {@link Registration.deregister}. */
  async deregister(): Promise<void> {
    this.#cancelTimer();
    await this.#queue.run(async () => {
      if (this.#state === 'ended') return;
      const kept = this.#state === 'kept';
      this.#end();
      try {
        if (kept) await this.#remove();
      } catch (error) {
        throw unavailable(`cannot deregister ${this.#instance.id}, whose lease will end by itself`, error);
      }
    });
  }

  /**
   * The registry does not see the file. It is renewed, which writes it again, now instead of later; once only, since
   * the reason may be one that no renewal mends.
   */
  missing(): void {
    if (this.#state !== 'kept' || this.#written === null || this.#hurried) return;
    this.#hurried = true;
    this.#cancelTimer();
    void this.#renewAndSchedule();
  }

  async #renewAndSchedule(): Promise<void> {
    await this.#queue.run(async () => {
      if (this.#state !== 'kept') return;
      try {
        await this.#renew();
        this.#failures = 0;
        if (this.#state === 'kept') this.context.problem(null);
      } catch (error) {
        this.#failures++;
        this.context.problem(`the lease of ${this.#instance.id} cannot be renewed: ${errorText(error)}`);
      }
    });
    this.#schedule();
  }

  async #renew(): Promise<void> {
    const { directory } = this.context;
    try {
      const found = await lstat(join(directory, this.fileName), { bigint: true });
      if (!this.#stale && this.#written && sameContent(this.#written, found)) {
        if (!(await this.#writtenWithClock()))
          await stampInstanceFile(directory, this.fileName, this.#stamp());
        return;
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (this.#isRival(await this.#found())) {
      this.#state = 'superseded';
      this.context.problem(
        `${this.#instance.id} was registered again by a newer process; this one lets go of it`,
      );
      return;
    }
    await this.#write();
  }

  /** The file that is there, if it is good. */
  async #found(): Promise<FoundFile | undefined> {
    const { directory } = this.context;
    const known = this.context.known(this.fileName);
    if (known !== undefined) {
      const identity = await lstat(join(directory, this.fileName), { bigint: true }).catch(() => undefined);
      if (identity?.isFile() && sameContent(known.identity, identity)) return known;
    }
    const found = await readInstanceFile(directory, this.fileName).catch(() => undefined);
    return found !== undefined && 'file' in found ? found : undefined;
  }

  /** Whether it is a registration of the same instance that came after ours. */
  #isRival(found: FoundFile | undefined): boolean {
    if (found === undefined || (this.#written && sameContent(this.#written, found.identity))) return false;
    return found.file.instance.epoch > this.#instance.epoch;
  }

  /** Whether it says what we would write: another process kept it before this one. */
  #isOurs({ file: { instance, leaseMs } }: FoundFile): boolean {
    return leaseMs === this.context.leaseMs && isDeepStrictEqual(instance, this.#instance);
  }

  /** Only renews what is there, which also a full disk allows. */
  async #goOnWith(found: FoundFile): Promise<void> {
    this.#phase = phaseOf(found.identity);
    this.#stampClock = found.file.clock;
    await stampInstanceFile(this.context.directory, this.fileName, this.#stamp());
    this.#written = found.identity;
    await this.context.changed(this.fileName);
  }

  async #write(): Promise<void> {
    const { directory, directoryMode, leaseMs, clock } = this.context;
    await makeDirectory(directory, directoryMode);
    const stampClock = this.#clockNow();
    const phase = (this.#phase + 1) % PHASES;
    const file = { instance: this.#instance, leaseMs, clock: stampClock };
    const stamp = { wallMs: clock.wallMs(), phase };
    this.#written = await writeInstanceFile(directory, file, directoryMode & 0o666, stamp);
    this.#stampClock = stampClock;
    this.#phase = phase;
    this.#stale = false;
    await this.context.changed(this.fileName);
  }

  async #remove(): Promise<void> {
    const written = this.#written;
    if (written) {
      await removeInstanceFile(this.context.directory, this.fileName, (found) => sameContent(written, found));
    }
    await this.context.changed(this.fileName);
  }

  #stamp(): Stamp {
    const { clock } = this.context;
    const by = this.#stampClock;
    const isOurs = by !== undefined && by.id === clock.monotonicId;
    return { wallMs: isOurs ? by.offsetMs + clock.monotonicMs() : clock.wallMs(), phase: this.#phase };
  }

  #clockNow(): StampClock | undefined {
    const { clock } = this.context;
    const id = clock.monotonicId;
    return id === null ? undefined : { id, offsetMs: clock.wallMs() - clock.monotonicMs() };
  }

  /**
   * A file that an earlier version wrote, or that is older than the machine's last start, does not say by what its stamps are to be read. It is written
   * again with one of its next renewals, not all such files at once; where it cannot be written it is renewed as it is.
   */
  async #writtenWithClock(): Promise<boolean> {
    const { clock, random } = this.context;
    if (clock.monotonicId === null || this.#stampClock?.id === clock.monotonicId) return false;
    if (random() * RENEWALS_UNTIL_WRITTEN >= 1) return false;
    return this.#write().then(
      () => true,
      () => false,
    );
  }

  #schedule(): void {
    if (this.#state !== 'kept') return;
    const { leaseMs, clock, random } = this.context;
    const delayMs = nextRenewalMs(leaseMs, this.#failures, random);
    this.#cancelTimer();
    this.#cancelTimer = clock.after(delayMs, () => {
      this.#hurried = false;
      void this.#renewAndSchedule();
    });
  }

  #end(): void {
    this.#state = 'ended';
    this.#cancelTimer();
    this.context.problem(null);
    this.context.ended();
  }
}

/** Makes the registry's directory with the given permission bits, whatever the umask; leaves an existing one alone. */
export async function makeDirectory(directory: string, mode: number): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode });
  if (made !== undefined) await chmod(directory, mode);
}

function unavailable(what: string, cause: unknown): MeshError {
  return new MeshError('UNAVAILABLE', `${what}: ${errorText(cause)}`, { cause, mayHaveRun: true });
}
