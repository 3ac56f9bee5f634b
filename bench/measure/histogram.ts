// Latencies counted in buckets of constant relative width, as HdrHistogram does: recording costs no allocation and a long run as little
// memory as a short one. Filled by the load client, sent to the harness as pairs, merged there over rounds. A value is at
// most 0.1% off, or 1/16 of a microsecond below 64; count, sum and maximum are exact.

const unitsPerUs = 16;
const subBits = 10;
const subCount = 1 << subBits;
const maxUnits = 2 ** 32 - 1;
const bucketCount = indexOf(maxUnits) + 1;

/** A histogram as it travels between processes; times in microseconds. */
export interface HistogramData {
  count: number;
  sumUs: number;
  maxUs: number;
  /** The buckets that are not empty. */
  pairs: [index: number, count: number][];
}

function indexOf(units: number): number {
  const exponent = 31 - Math.clz32(units) - subBits;
  return exponent <= 0 ? units : exponent * subCount + (units >>> exponent);
}

function middleUsOf(index: number): number {
  if (index < 2 * subCount) return index / unitsPerUs;
  const exponent = (index >> subBits) - 1;
  const low = (index - exponent * subCount) * 2 ** exponent;
  return (low + (2 ** exponent - 1) / 2) / unitsPerUs;
}

/** See the file's head. Holds up to 268 seconds; longer times count as that. */
export class Histogram {
  readonly #counts = new Uint32Array(bucketCount);
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  /** One histogram that holds the values of all of them. */
  static merge(all: readonly HistogramData[]): Histogram {
    const merged = new Histogram();
    for (const one of all) merged.add(one);
    return merged;
  }

  get count(): number {
    return this.#count;
  }

  /** 0 if empty. */
  get maxUs(): number {
    return this.#maxUs;
  }

  /** Exact; 0 if empty. */
  get meanUs(): number {
    return this.#count === 0 ? 0 : this.#sumUs / this.#count;
  }

  /** Negative values, which a clock read twice may give, count as 0. */
  record(valueUs: number): void {
    const units = Math.min(maxUnits, Math.max(0, Math.round(valueUs * unitsPerUs)));
    const index = indexOf(units);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count++;
    this.#sumUs += valueUs;
    if (valueUs > this.#maxUs) this.#maxUs = valueUs;
  }

  add(data: HistogramData): void {
    for (const [index, count] of data.pairs) this.#counts[index] = (this.#counts[index] ?? 0) + count;
    this.#count += data.count;
    this.#sumUs += data.sumUs;
    this.#maxUs = Math.max(this.#maxUs, data.maxUs);
  }

  /** The value of rank `ceil(q * count)`; 0 if empty. */
  quantileUs(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let index = 0; index < bucketCount; index++) {
      seen += this.#counts[index] ?? 0;
      if (seen >= rank) return Math.min(middleUsOf(index), this.#maxUs);
    }
    return this.#maxUs;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = this.#sumUs = this.#maxUs = 0;
  }

  data(): HistogramData {
    const pairs: HistogramData['pairs'] = [];
    this.#counts.forEach((count, index) => {
      if (count > 0) pairs.push([index, count]);
    });
    return { count: this.#count, sumUs: this.#sumUs, maxUs: this.#maxUs, pairs };
  }
}
