// The one error type of Ringside. Everything that fails towards an application or an operator is a MeshError
// over the table of status codes; protocol code and hot paths use integers and make one only at their edge.
// What must stay true: `mayHaveRun === false` is a proof that the request did not run, never a guess.
import { Status, statusName, statusTable } from './status.js';
import type { StatusCode, StatusName } from './status.js';

/** What may be said about a failure beyond status and text. */
export interface MeshErrorOptions {
  /** False only with proof that the request has not run. Default true. Callers of a handler that throws it see true. */
  mayHaveRun?: boolean;
  /** Overrides the table's answer for the status. */
  retryable?: boolean;
  /** What caused it, as in `new Error(text, { cause })`. */
  cause?: unknown;
}

/**
 * A failed call, or a failure that a handler wants its caller to see.
 *
 * @example
 * throw new MeshError('NOT_FOUND', `no user ${id}`);
 */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  /** Status code, 1 to 16. */
  readonly code: StatusCode;
  /** Name of the status code. */
  readonly status: StatusName;
  /** Whether the same call may succeed a little later. Says nothing about safety: see `mayHaveRun`. */
  readonly retryable: boolean;
  /** False is a proof that the request has not run; true means nobody knows. */
  readonly mayHaveRun: boolean;

  /**
   * @param status name or number of a status; OK, and numbers outside the table, count as UNKNOWN
   * @param message words that an operator can act on
   */
  constructor(status: StatusName | number, message: string, options: MeshErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    const given = typeof status === 'number' ? statusName(status) : status;
    this.status = given in Status && given !== 'OK' ? given : 'UNKNOWN';
    this.code = Status[this.status];
    this.mayHaveRun = options.mayHaveRun ?? true;
    this.retryable = options.retryable ?? statusTable[this.code]?.retryable ?? false;
  }
}

/** The text of anything thrown, without a stack. */
export function errorText(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === '' ? thrown.name : thrown.message;
  try {
    return String(thrown);
  } catch {
    return 'something was thrown that has no text';
  }
}
