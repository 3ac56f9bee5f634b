// Faults that a test gives to processes it starts, and takes back: memory refused for shared-memory segments, a wall clock that jumps. They
// are made by a library that is compiled with the test and preloaded (injected-faults.c), so neither root nor a change of the machine is needed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compilePreloaded } from './preloaded.js';

export interface Faults {
  /** Seconds by which the wall clock is off. */
  wallOffsetS: number;
  /** memfd_create fails, as where seccomp forbids it. */
  refuseMemfd: boolean;
  /** Mapping a segment fails, as where memory has run out. */
  refuseSharedMmap: boolean;
}

const none: Faults = { wallOffsetS: 0, refuseMemfd: false, refuseSharedMmap: false };

/** See the file's head. */
export class InjectedFaults {
  readonly #file: string;
  #made = false;
  /** For the environment of a process that is to have them. */
  readonly env: { LD_PRELOAD: string; TEST_FAULTS: string };

  /** @param directory where the library and its file go; faults of one directory are shared by all processes that have them */
  constructor(directory: string) {
    this.#file = join(directory, 'injected-faults');
    this.set({});
    const library = compilePreloaded('injected-faults', directory);
    this.env = { LD_PRELOAD: library, TEST_FAULTS: this.#file };
  }

  /** From now on these faults, and no others. */
  set(faults: Partial<Faults>): void {
    const { wallOffsetS, refuseMemfd, refuseSharedMmap } = { ...none, ...faults };
    const words = BigInt64Array.of(BigInt(wallOffsetS), BigInt(refuseMemfd), BigInt(refuseSharedMmap));
    // In place: the processes have mapped this very file.
    writeFileSync(this.#file, new Uint8Array(words.buffer), { flag: this.#made ? 'r+' : 'w' });
    this.#made = true;
  }
}
