// What may name a service, a method or a group. One rule for what applications say to the SDK and for what an agent is told.
import { Buffer } from 'node:buffer';
import { maxNameBytes } from './limits.js';

// Control characters would let a name write lines of its own into logs and terminals.
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/;
/** Half a character of UTF-16, which UTF-8 cannot carry: it would arrive as another name. */
const halfCharacter = /\p{Surrogate}/u;

/** What is wrong with a name, in words that follow it; undefined if nothing is. An empty one is allowed. */
export function whyNoName(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'must be a string';
  if (Buffer.byteLength(name) > maxNameBytes) return `must be at most ${maxNameBytes} bytes`;
  if (control.test(name)) return 'must not hold control characters';
  return halfCharacter.test(name) ? 'must be well-formed Unicode' : undefined;
}

/** The same of a name that is needed. */
export function whyNoService(name: unknown): string | undefined {
  return name === '' ? 'must not be empty' : whyNoName(name);
}
