// The committed seeds of a native fuzzer (native/fuzz/corpus): inputs that its runs found to matter, for comparing codecs on.
import { readFileSync, readdirSync } from 'node:fs';
import type { Buffer } from 'node:buffer';

/** Every seed of `target`, by its file's name. */
export function fuzzSeeds(target: string): Map<string, Buffer> {
  const folder = new URL(`../../native/fuzz/corpus/${target}/`, import.meta.url);
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder))]));
}
