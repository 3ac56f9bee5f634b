// Bodies as applications give them: bytes or text. Types do not hold callers in plain JavaScript, so what is neither is
// found here, before anything of a message is written.
import { Buffer } from 'node:buffer';

/** Length of a body in bytes. Throws TypeError for what is no body. */
export function bodyLength(body: Uint8Array | string): number {
  if (typeof body === 'string') return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.length;
  throw new TypeError('a body must be a Uint8Array or a string');
}

/** The bytes of a body: text is encoded, bytes are not copied. */
export function bodyBytes(body: Uint8Array | string): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body;
}
