// The table of status codes: gRPC's sixteen plus OK, as they travel in the fixed part of a frame
// (docs/wire-format.md). Hot paths carry the integers; names are for errors, logs and documents.
// `retryable` says whether trying the same call again a little later may succeed; whether that is *safe*
// is a different question, answered by MeshError.mayHaveRun.

/** Status codes by name. */
export const Status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** Name of a status code, for example `'UNAVAILABLE'`. */
export type StatusName = keyof typeof Status;
/** A status code, 0 to 16. */
export type StatusCode = (typeof Status)[StatusName];

/** The largest status code of the wire format. */
export const maxStatusCode = 16;

/** One row of the table: what a code means and whether trying again later may help. */
export interface StatusRow {
  readonly code: StatusCode;
  readonly name: StatusName;
  readonly retryable: boolean;
  readonly meaning: string;
}

function row(name: StatusName, retryable: boolean, meaning: string): StatusRow {
  return { code: Status[name], name, retryable, meaning };
}

/** All rows, indexed by code. */
export const statusTable: readonly StatusRow[] = [
  row('OK', false, 'The call succeeded.'),
  row('CANCELLED', false, 'The caller gave the call up.'),
  row('UNKNOWN', false, 'The handler failed with an error that names no status.'),
  row('INVALID_ARGUMENT', false, 'The request itself is wrong, whatever the state of the system.'),
  row('DEADLINE_EXCEEDED', false, 'The deadline passed before the answer came.'),
  row('NOT_FOUND', false, 'What was asked for does not exist.'),
  row('ALREADY_EXISTS', false, 'What was to be created exists.'),
  row('PERMISSION_DENIED', false, 'The caller is known and may not do this.'),
  row('RESOURCE_EXHAUSTED', true, 'A bound is reached; the text names it.'),
  row('FAILED_PRECONDITION', false, 'The system is not in the state that this call needs.'),
  row('ABORTED', true, 'A conflict with another call ended this one.'),
  row('OUT_OF_RANGE', false, 'Past the valid range, for example reading beyond an end.'),
  row('UNIMPLEMENTED', false, 'The method or the feature does not exist there.'),
  row('INTERNAL', false, 'An invariant broke, or a peer sent something malformed.'),
  row('UNAVAILABLE', true, 'No instance could be reached, or it is going away.'),
  row('DATA_LOSS', false, 'Data is lost or corrupt for good.'),
  row('UNAUTHENTICATED', false, 'The caller did not prove who it is.'),
];

/** The name of a code; a number that is no status code counts as UNKNOWN. */
export function statusName(code: number): StatusName {
  return statusTable[code]?.name ?? 'UNKNOWN';
}
