/**
 * What every registry offers, whatever keeps the instances: files in a directory or Redis, others behind the same
 * interface later. The agent registers its apps' services here and watches the services that its apps call.
 * A registry in trouble never empties a list: the last good one serves on, and `problem` says what is wrong.
 */
import type { RegistryView } from '../observe/agent-view.js';
import type { Instance } from './instance.js';
import type { RegistryState } from './registry-state.js';

/** Gets the full list of live instances each time, sorted by id; the list and its members are frozen. */
export type InstancesListener = (instances: readonly Instance[]) => void;

/** What may change while an instance stays registered. */
export type InstanceChange = Partial<
  Pick<Instance, 'version' | 'host' | 'port' | 'weight' | 'zone' | 'protocols' | 'metadata'>
>;

/** One registered instance, kept alive until it is deregistered or the process ends. */
export interface Registration {
  /** The instance as it stands in the registry. */
  readonly instance: Instance;
  /** Publishes a change; resolves when it is written. */
  update(change: InstanceChange): Promise<void>;
  /** Takes the instance out; resolves when it is gone from the registry. Calling it again does nothing. */
  deregister(): Promise<void>;
}

/** See the file's head. */
export interface Registry {
  /**
   * Publishes an instance and renews its lease from then on. Redis' registry accepts an instance also while Redis cannot
   * be reached, writes it when it can, and says so in `problem` meanwhile.
   * @throws {MeshError} if it is refused, or (embedded) could not be written now; nothing is retried then.
   */
  register(instance: Instance): Promise<Registration>;

  /**
   * Watches the live instances of a service. The listener is called as soon as it is known who serves it, before `watch` returns
   * if it is known already, and then on each change. A list without instances says that the registry was read for this service and
   * nobody serves it; as long as it was not read, nothing is told.
   * @param group only instances of this group; undefined, '' or '*': all
   * @returns ends the watch; the listener is not called afterwards
   * @throws {MeshError} RESOURCE_EXHAUSTED if too many services are watched already.
   */
  watch(service: string, group: string | undefined, listener: InstancesListener): () => void;

  /** Which registry this is, in words such as `the registry at redis://10.0.0.7:6379`, without secrets. */
  readonly place: string;

  /** What is wrong with the registry now, in words for an operator; null if nothing is. */
  readonly problem: string | null;

  /** The same one by one, each behind the name of its source and a colon; at most 20. */
  readonly problemsBySource: readonly string[];

  /**
   * Whether it can be said who serves what: the registry has answered once, be it that nobody serves, or lists that an earlier
   * process knew or left on disk are there. Stays so, whatever becomes of the registry.
   */
  readonly usable: boolean;

  /** What the registry of a process that takes over must know of this one; undefined where that is nothing. */
  export(): RegistryState | undefined;

  /** Goes on with what the registry of another process knew; before the first watch. */
  adopt(state: RegistryState): void;

  /** State for people and metrics; a copy. */
  view(): RegistryView;

  /** Deregisters what is still registered, ends all watches. Calling it again does nothing. */
  close(): Promise<void>;
}
