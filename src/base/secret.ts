/** Comparing secrets that somebody shows with those that are wanted. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** Compares hashes, so that neither time nor length tells anything about the secret. */
export function sameSecret(given: Uint8Array | string, wanted: Uint8Array | string): boolean {
  const digest = (secret: Uint8Array | string): Buffer => createHash('sha256').update(secret).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
