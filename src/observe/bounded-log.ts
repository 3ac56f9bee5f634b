// A log for lines that others cause (line-bound.ts): those beyond the bound are counted and told in one line.
import type { Logger } from 'pino';
import { LineBound } from './line-bound.js';

/** Levels of such lines. */
export type BoundedLevel = 'debug' | 'info' | 'warn' | 'error';

/** See the file's head. */
export class BoundedLog {
  readonly #bound: LineBound;

  constructor(private readonly log: Logger) {
    this.#bound = new LineBound((kind, leftOut) =>
      log.warn({ leftOut, kind }, 'more lines of this kind were left out'),
    );
  }

  /** Writes a line, or counts it. @param kind what it is counted as: the message, where that is always the same */
  write(level: BoundedLevel, fields: object, message: string, kind = message): void {
    // What nobody would read uses up nothing.
    if (this.log.isLevelEnabled(level) && this.#bound.admit(kind)) this.log[level](fields, message);
  }

  /** Tells at once what was left out so far: before the end. */
  tell(): void {
    this.#bound.tell();
  }
}
