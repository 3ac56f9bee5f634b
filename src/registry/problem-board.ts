/**
 * What is wrong with a registry now, by source. Says so once when it begins or changes and once when all is well
 * again, however often the same trouble is met in between.
 */

/** Problems that are named; of the others there is a count. */
const SHOWN = 5;

/** See the file's head. */
export class ProblemBoard {
  static readonly #maxShown = 20;
  readonly #bySource = new Map<string, string>();
  readonly #onChange: (problem: string | null) => void;
  #current: string | null = null;

  /** @param onChange called with all problems in one text, or null when the last one is gone */
  constructor(onChange: (problem: string | null) => void) {
    this.#onChange = onChange;
  }

  /** All problems in one text; null if there are none. */
  get current(): string | null {
    return this.#current;
  }

  /** Each problem behind its source, which stays the same while the words change; the first of them where there are many. */
  get all(): string[] {
    return [...this.#bySource]
      .slice(0, ProblemBoard.#maxShown)
      .map(([source, text]) => `${source.replace(/\s/g, ' ')}: ${text}`);
  }

  /** Says what is wrong with one source; null: nothing any more. */
  set(source: string, problem: string | null): void {
    if (problem === null) this.#bySource.delete(source);
    else this.#bySource.set(source, problem);
    const current = this.#text();
    if (current === this.#current) return;
    this.#current = current;
    this.#onChange(current);
  }

  /** Thousands may be in trouble together, each with a text, so only those that are shown are looked at. */
  #text(): string | null {
    const shown: string[] = [];
    for (const text of this.#bySource.values()) {
      if (shown.length === SHOWN) break;
      shown.push(text);
    }
    if (shown.length === 0) return null;
    const more = this.#bySource.size - shown.length;
    return shown.join('; ') + (more > 0 ? `; and ${more} more` : '');
  }
}
