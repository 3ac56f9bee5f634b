/**
 * What is wrong with a registry now, by source. Says so once when it begins or changes and once when all is well
 * again, however often the same trouble is met in between.
 */
export class ProblemBoard {
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

  /** Says what is wrong with one source; null: nothing any more. */
  set(source: string, problem: string | null): void {
    if (problem === null) this.#bySource.delete(source);
    else this.#bySource.set(source, problem);
    const texts = [...this.#bySource.values()];
    const shown = texts.slice(0, 5).join('; ') + (texts.length > 5 ? `; and ${texts.length - 5} more` : '');
    const current = texts.length === 0 ? null : shown;
    if (current === this.#current) return;
    this.#current = current;
    this.#onChange(current);
  }
}
