/**
 * Signatures of archives: ed25519 over a manifest that names the version and the archive's SHA-256, so that a request is refused before anything is
 * downloaded, and no signature serves for another version. The ops agent checks them, `ringside ops pack --sign` makes them.
 */
import { sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** What is signed, byte by byte (docs/ops.md): three lines, each with a line feed at its end. */
export function manifestOf(version: string, sha256: string): string {
  return `ringside archive 1\nversion ${version}\nsha256 ${sha256.toLowerCase()}\n`;
}

/** @param sha256 hexadecimal; @param signature base64, 64 bytes */
export function isSigned(version: string, sha256: string, signature: string, publicKey: KeyObject): boolean {
  const manifest = Buffer.from(manifestOf(version, sha256));
  return verify(null, manifest, publicKey, Buffer.from(signature, 'base64'));
}

/** @param privateKey ed25519; @returns base64 */
export function signatureOf(version: string, sha256: string, privateKey: KeyObject): string {
  return sign(null, Buffer.from(manifestOf(version, sha256)), privateKey).toString('base64');
}
