/**
 * Signatures of archives: ed25519 over the 32 bytes of the archive's SHA-256, so that a request is refused before anything is downloaded.
 */
import { verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** @param sha256 hexadecimal; @param signature base64, 64 bytes */
export function isSigned(sha256: string, signature: string, publicKey: KeyObject): boolean {
  return verify(null, Buffer.from(sha256, 'hex'), publicKey, Buffer.from(signature, 'base64'));
}
