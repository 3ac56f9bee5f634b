// Seeded choices for tests that act at random: a seed repeats a run as far as the kernel's timing lets it. Each such test names the variables
// of the environment that choose the seed and how long it goes on, and shows the seed where it fails.

export class RandomSource {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = (seed * 2654435761) >>> 0;
  }

  /** 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % n;
  }
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }
  /** The same things in another order. */
  shuffled<T>(things: readonly T[]): T[] {
    const left = [...things];
    return things.map(() => left.splice(this.below(left.length), 1)[0] as T);
  }
  /** Numbers of 32 bits at which checks break. */
  edge(): number {
    const wide = [0, 1, 2 ** 16 + this.below(3) - 1, 2 ** 18 + this.below(3) - 1, 2 ** 31, 2 ** 32 - 1];
    return this.oneIn(2) ? this.of(wide) : this.below(2 ** 32);
  }
  bytes(n: number): Buffer {
    return Buffer.from(Array.from({ length: n }, () => this.below(256)));
  }
}

/** A number from the environment, or what stands in for it. */
export function numberFrom(variable: string, otherwise: number): number {
  const text = process.env[variable];
  return text === undefined || text === '' ? otherwise : Number(text);
}
