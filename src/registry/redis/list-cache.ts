/**
 * The last good lists on disk, so that an agent that starts while Redis is down can serve. Written a moment after a
 * change, whole and by renaming, so that what is read is always one that was written; read once, at start. What
 * it contains is checked like anything that comes from a registry.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { errorText } from '../../base/errors.js';
import type { Clock } from '../clock.js';
import { parseInstance } from '../instance.js';
import type { Instance } from '../instance.js';

/** Changes are gathered this long before the file is written. */
const GATHER_MS = 1_000;
/** Larger files are not ours. */
const MAX_BYTES = 64 * 1024 * 1024;
const FORMAT = 'ringside-lists/1';

const fileSchema = z.object({
  format: z.literal(FORMAT),
  savedMs: z.number(),
  services: z.record(z.string(), z.array(z.unknown())),
});

/** What was on disk. */
export interface CachedLists {
  /** Milliseconds since 1970. */
  readonly savedMs: number;
  readonly services: ReadonlyMap<string, readonly Instance[]>;
}

/**
 * Reads the file.
 * @returns null where there is none; or what is wrong with it
 */
export function readCachedLists(path: string): CachedLists | { wrong: string } | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : { wrong: errorText(error) };
  }
  if (text.length > MAX_BYTES) return { wrong: `it is larger than ${MAX_BYTES} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { wrong: errorText(error) };
  }
  const file = fileSchema.safeParse(value);
  if (!file.success) return { wrong: 'it is not in the format of this version' };
  const services = new Map<string, readonly Instance[]>();
  for (const [service, claimed] of Object.entries(file.data.services)) {
    const instances = claimed.flatMap((one) => {
      const parsed = parseInstance(one);
      return 'instance' in parsed && parsed.instance.service === service ? [parsed.instance] : [];
    });
    if (instances.length > 0) services.set(service, instances);
  }
  return { savedMs: file.data.savedMs, services };
}

/** Writes the file when told that something changed. */
export class ListCacheWriter {
  #cancel: (() => void) | null = null;
  #writing: Promise<void> = Promise.resolve();
  #dirty = false;

  /**
   * @param lists asked for what to write, each time it is written
   * @param problem told what is wrong, and null when nothing is any more
   */
  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly lists: () => Iterable<[string, readonly Instance[]]>,
    private readonly problem: (text: string | null) => void,
  ) {}

  changed(): void {
    this.#dirty = true;
    this.#cancel ??= this.clock.after(GATHER_MS, () => {
      this.#cancel = null;
      void this.#write();
    });
  }

  /** Writes what is not written yet, and nothing after that. */
  async close(): Promise<void> {
    this.#cancel?.();
    await this.#write();
  }

  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (!this.#dirty) return;
      this.#dirty = false;
      const savedMs = this.clock.wallMs();
      const file = { format: FORMAT, savedMs, services: Object.fromEntries(this.lists()) };
      const temporary = `${this.path}.${process.pid}.tmp`;
      try {
        await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
        await writeFile(temporary, JSON.stringify(file), { mode: 0o600 });
        await rename(temporary, this.path);
        this.problem(null);
      } catch (error) {
        this.problem(`the lists cannot be written to ${this.path}: ${errorText(error)}`);
        await rm(temporary, { force: true }).catch(() => undefined);
      }
    });
    return this.#writing;
  }
}
