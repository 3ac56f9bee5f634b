// Failures that a call meets before anything of it was sent. Each bears the proof (`mayHaveRun` is false) that
// callers and agents need to try elsewhere.
import { MeshError, errorText } from '../base/errors.js';

/** Statuses with which a call may be refused on this side. */
export type RefusalStatus =
  'RESOURCE_EXHAUSTED' | 'UNAVAILABLE' | 'INVALID_ARGUMENT' | 'DEADLINE_EXCEEDED' | 'CANCELLED';

/** A failure with the proof that nothing was sent. */
export function refused(status: RefusalStatus, text: string, retryable?: boolean): MeshError {
  const proof = { mayHaveRun: false };
  return new MeshError(status, text, retryable === undefined ? proof : { ...proof, retryable });
}

/** What a caller sees of an error thrown before anything was sent. */
export function asRefusal(error: unknown): MeshError {
  return error instanceof MeshError ? error : refused('INVALID_ARGUMENT', errorText(error));
}

/** For good: no other attempt of this client can help. */
export function clientClosed(): MeshError {
  return refused('UNAVAILABLE', 'the client is closed', false);
}
