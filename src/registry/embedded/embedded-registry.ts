/**
 * The embedded registry: agents on one machine share a directory in which each instance is one small file whose
 * time of last modification is its lease. No process is in charge; any agent may be killed at any moment. The agent
 * opens one, registers its apps' services and watches others. Changes are seen through the kernel's notifications;
 * a periodic sweep finds what those missed, lets leases end and removes the files of the dead.
 */
import { watch as watchFiles } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { errorText, MeshError } from '../../base/errors.js';
import { TurnQueue } from '../../base/turn-queue.js';
import type { RegistryView } from '../../observe/agent-view.js';
import { byId } from '../../policy/endpoints-of.js';
import { systemClock } from '../clock.js';
import type { Clock } from '../clock.js';
import { validInstance } from '../instance.js';
import type { Instance } from '../instance.js';
import { InstancesWatch } from '../instances-watch.js';
import { ProblemBoard } from '../problem-board.js';
import type { InstancesListener, Registration, Registry } from '../registry.js';
import { DirectoryView } from './directory-view.js';
import { fileNameOf, isInstanceFileName, isMissing, MAX_LEASE_MS, MIN_LEASE_MS } from './instance-file.js';
import { LeaseKeeper, makeDirectory } from './lease-keeper.js';

/** Events are gathered this long before the files are looked at. */
const GATHER_MS = 20;
/** More changed names than this: the whole directory is looked through instead. */
const MAX_CHANGED = 1024;

/** See the file's head. */
export interface EmbeddedRegistryOptions {
  directory: string;
  /** Permission bits of the directory where it has to be made; files get the same without execution. Default 0700. */
  directoryMode?: number;
  /** Lease of what is registered here, 100 to 600,000 ms. */
  leaseMs: number;
  /** Time between two looks through the whole directory. */
  sweepMs: number;
  /** Instances read from the directory, at most. */
  maxInstances: number;
  /** Services watched, at most. */
  maxServices: number;
  /** Called when something goes wrong, with all that is wrong, and with null when all is well again. */
  onProblem?: (problem: string | null) => void;
  clock?: Clock;
  /** Uniform in [0, 1). */
  random?: () => number;
}

/**
 * Opens the registry. Resolves after the first look at the directory, also where that failed: then `problem` says
 * why, and it is tried again with each sweep.
 */
export async function openEmbeddedRegistry(options: EmbeddedRegistryOptions): Promise<EmbeddedRegistry> {
  if (!(options.leaseMs >= MIN_LEASE_MS && options.leaseMs <= MAX_LEASE_MS)) {
    throw new MeshError('INVALID_ARGUMENT', `leaseMs must be ${MIN_LEASE_MS} to ${MAX_LEASE_MS}`, {
      mayHaveRun: false,
    });
  }
  const registry = new EmbeddedRegistry(options);
  await registry.refresh();
  return registry;
}

/** Made by {@link openEmbeddedRegistry}. */
export class EmbeddedRegistry implements Registry {
  readonly #options: Required<Omit<EmbeddedRegistryOptions, 'onProblem'>>;
  readonly #view: DirectoryView;
  readonly #board: ProblemBoard;
  readonly #keepers = new Map<string, LeaseKeeper>();
  readonly #watches = new Map<string, Set<InstancesWatch>>();
  /** Watches that began after the last look, with their service: who came before them may not have been seen, so nobody there means nothing yet. */
  readonly #unread = new Map<InstancesWatch, string>();
  #readPlanned = false;
  #changed = new Set<string>();
  /** Names that the next look is for, and that look. */
  #toLookAt = new Set<string>();
  #looking: Promise<void> | null = null;
  #cancelGather: (() => void) | null = null;
  #cancelSweep: () => void = () => undefined;
  #watcher: FSWatcher | null = null;
  #watchedDirectory: string | null = null;
  /** Looks at the directory follow each other, never overlap. */
  readonly #queue = new TurnQueue();
  #closed = false;

  constructor({ onProblem = () => undefined, ...options }: EmbeddedRegistryOptions) {
    this.#options = { directoryMode: 0o700, clock: systemClock, random: Math.random, ...options };
    const { directory, clock, sweepMs, maxInstances } = this.#options;
    this.#view = new DirectoryView(directory, clock, sweepMs, maxInstances);
    this.#board = new ProblemBoard(onProblem);
    this.#scheduleSweep();
  }

  /** See {@link Registry.place}. */
  get place(): string {
    return `the registry in ${this.#options.directory}`;
  }

  /** See {@link Registry.problem}. */
  get problem(): string | null {
    return this.#board.current;
  }

  /** See {@link Registry.problemsBySource}. */
  get problemsBySource(): string[] {
    return this.#board.all;
  }

  /** See {@link Registry.usable}. */
  get usable(): boolean {
    return this.#view.known;
  }

  /** See {@link Registry.register}. */
  async register(claimed: Instance): Promise<Registration> {
    const instance = validInstance(claimed);
    if (this.#closed) throw new MeshError('UNAVAILABLE', 'the registry is closed', { mayHaveRun: false });
    const name = fileNameOf(instance);
    if (this.#keepers.has(name)) {
      throw new MeshError('ALREADY_EXISTS', `${instance.id} is registered already`, { mayHaveRun: false });
    }
    const { directory, directoryMode, leaseMs, clock, random } = this.#options;
    const keeper = new LeaseKeeper(instance, {
      directory,
      directoryMode,
      leaseMs,
      clock,
      random,
      known: (fileName) => this.#view.fileOf(fileName),
      changed: (fileName) => this.#look([fileName]),
      problem: (text) => this.#board.set(`lease ${name}`, text),
      ended: () => this.#keepers.delete(name),
    });
    this.#keepers.set(name, keeper);
    await keeper.start();
    return keeper;
  }

  /** See {@link Registry.watch}. */
  watch(service: string, group: string | undefined, listener: InstancesListener): () => void {
    let watches = this.#watches.get(service);
    if (!watches) {
      if (this.#watches.size >= this.#options.maxServices) {
        const text = `${this.#options.maxServices} services are watched already, the configured limit`;
        throw new MeshError('RESOURCE_EXHAUSTED', text, { mayHaveRun: false });
      }
      watches = new Set();
      this.#watches.set(service, watches);
    }
    const watch = new InstancesWatch(group, listener, this.#board);
    watches.add(watch);
    const live = this.#view.known ? this.#listOf(service) : [];
    if (live.length > 0) watch.tell(live);
    else {
      this.#unread.set(watch, service);
      this.#readForUnread();
    }
    return () => {
      watches.delete(watch);
      this.#unread.delete(watch);
      if (watches.size === 0 && this.#watches.get(service) === watches) this.#watches.delete(service);
    };
  }

  /** See {@link Registry.export}: the files say everything. */
  export(): undefined {
    return undefined;
  }

  /** See {@link Registry.adopt}. */
  adopt(): void {
    // Nothing was told.
  }

  /** See {@link Registry.view}. */
  view(): RegistryView {
    const told = [...this.#watches.values()].map((watches) => {
      return Math.max(0, ...[...watches].map((watch) => watch.toldCount));
    });
    return {
      kind: 'embedded',
      address: this.#options.directory,
      connected: this.#view.known,
      problem: this.problem,
      services: this.#watches.size,
      instances: told.reduce((sum, count) => sum + count, 0),
      read: this.#view.size,
      registered: this.#keepers.size,
      offline: 0,
      fromDisk: 0,
      protected: [],
    };
  }

  /** Looks through the whole directory now instead of at the next sweep; what it finds has been told when it resolves. */
  refresh(): Promise<void> {
    return this.#queue.run(() => this.#scan());
  }

  /** See {@link Registry.close}. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelSweep();
    this.#cancelGather?.();
    this.#watches.clear();
    this.#unread.clear();
    await Promise.allSettled([...this.#keepers.values()].map((keeper) => keeper.deregister()));
    await this.#queue.idle();
    this.#watcher?.close();
    this.#watcher = null;
  }

  /** Reads the directory for the watches that have begun; those that begin while it is being read wait for the next reading. */
  #readForUnread(): void {
    if (this.#readPlanned) return;
    this.#readPlanned = true;
    void this.#queue.run(async () => {
      this.#readPlanned = false;
      if (this.#unread.size === 0) return;
      const asked = [...this.#unread];
      try {
        await this.#view.lookForNew();
      } catch {
        await this.#scan(); // makes the directory if it is missing, or says what is wrong
        return;
      }
      this.#afterLook([], asked);
    });
  }

  async #scan(): Promise<void> {
    const { directory, directoryMode } = this.#options;
    const asked = [...this.#unread];
    try {
      try {
        await this.#view.scan();
      } catch (error) {
        if (!isMissing(error)) throw error;
        await makeDirectory(directory, directoryMode);
        await this.#view.scan();
      }
      this.#board.set('directory', null);
    } catch (error) {
      this.#board.set(
        'directory',
        `the registry's directory ${directory} cannot be read: ${errorText(error)}`,
      );
      return;
    }
    this.#watchDirectory();
    this.#afterLook(this.#keepers.keys(), asked);
  }

  /** Many who ask while another look is under way share the next one. */
  #look(names: readonly string[]): Promise<void> {
    for (const name of names) this.#toLookAt.add(name);
    this.#looking ??= this.#queue.run(async () => {
      const together = [...this.#toLookAt];
      this.#toLookAt = new Set();
      this.#looking = null;
      await this.#view.look(together);
      this.#afterLook(together);
    });
    return this.#looking;
  }

  /**
   * @param names of files that were looked at
   * @param asked watches for which the whole directory was read: to them nobody means nobody
   */
  #afterLook(names: Iterable<string>, asked: readonly [InstancesWatch, string][] = []): void {
    this.#board.set('files', this.#view.problem);
    if (this.#closed) return;
    for (const name of names) if (!this.#view.has(name)) this.#keepers.get(name)?.missing();
    if (!this.#view.known) return;
    for (const [watch] of asked) this.#unread.delete(watch);
    const changed = new Set([...this.#view.takeChanged(), ...asked.map(([, service]) => service)]);
    for (const service of changed) this.#tell(service);
  }

  #tell(service: string): void {
    const watches = this.#watches.get(service);
    if (watches === undefined) return;
    const list = this.#listOf(service);
    for (const watch of [...watches]) {
      if (!watches.has(watch) || (list.length === 0 && this.#unread.has(watch))) continue;
      this.#unread.delete(watch);
      watch.tell(list);
    }
  }

  #listOf(service: string): Instance[] {
    return this.#view.liveOf(service).sort(byId);
  }

  #watchDirectory(): void {
    if (this.#closed || (this.#watcher && this.#watchedDirectory === this.#view.directoryIdentity)) return;
    this.#watcher?.close();
    this.#watcher = null;
    try {
      const watcher = watchFiles(this.#options.directory, { persistent: false }, (event, name) =>
        this.#onEvent(event, name),
      );
      watcher.on('error', () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = null;
      });
      this.#watcher = watcher;
      this.#watchedDirectory = this.#view.directoryIdentity;
      // What changed between the look and the watch has sent no event.
      void this.refresh();
      this.#board.set('watch', null);
    } catch (error) {
      this.#board.set('watch', `changes are seen at sweeps only: ${errorText(error)}`);
    }
  }

  /** Renewals are events too, by far the most; sweeps see those. */
  #onEvent(event: string, name: string | null): void {
    if (this.#closed || (name !== null && !isInstanceFileName(name))) return;
    if (event === 'change' && name !== null && this.#view.has(name)) return;
    this.#changed.add(name ?? '');
    this.#cancelGather ??= this.#options.clock.after(GATHER_MS, () => {
      const names = [...this.#changed];
      this.#cancelGather = null;
      this.#changed = new Set();
      void (names.length > MAX_CHANGED || names.includes('') ? this.refresh() : this.#look(names));
    });
  }

  #scheduleSweep(): void {
    if (this.#closed) return;
    this.#cancelSweep = this.#options.clock.after(this.#options.sweepMs, () => {
      void this.#queue
        .run(async () => {
          await this.#scan();
          await this.#view.sweep();
        })
        .finally(() => this.#scheduleSweep());
    });
  }
}
