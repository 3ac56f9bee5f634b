/**
 * What is wrong with a configuration, in words that let an operator mend it without looking anything up: every bad
 * field at once, with its place in the file, what was found there and what is allowed. Thrown by load-config.ts,
 * printed by the command line, logged when a changed file is refused.
 */

/** One thing that is wrong. */
export interface ConfigProblem {
  /** Path of the field, such as `inbound.port`; empty where the whole file is meant. */
  field: string;
  /** Where in the file, counted from 1; absent where that is not known. */
  line?: number;
  column?: number;
  /** What is wrong, what was found, what is allowed. */
  text: string;
}

/** A configuration that cannot be used. Its message lists every problem, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  /**
   * @param source the file, or another name for where the text came from
   * @param problems at least one
   */
  constructor(
    readonly source: string,
    readonly problems: readonly ConfigProblem[],
  ) {
    super(`configuration ${source}:\n${problems.map((problem) => `  ${lineOf(problem)}`).join('\n')}`);
  }
}

/** One that may be used as soon as there is a network: see `advertise.waitMs`. */
export class NoAddressError extends ConfigError {
  constructor(
    source: string,
    problems: readonly ConfigProblem[],
    readonly waitMs: number,
  ) {
    super(source, problems);
  }
}

function lineOf({ field, line, column, text }: ConfigProblem): string {
  const place = line === undefined ? '' : ` (line ${line}, column ${column ?? 1})`;
  return field === '' ? `${text}${place}` : `${field}${place}: ${text}`;
}
