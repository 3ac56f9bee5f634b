/**
 * Building blocks of the configuration's schema: each makes one kind of field together with what is told about it
 * (what it means, what is allowed, whether a change needs a restart). Error texts, `diffConfig`, redaction and
 * docs/configuration.md all read these facts, so none of them can disagree with what is enforced.
 */
import { isIP } from 'node:net';
import { z } from 'zod';

/** What is told about one field. */
export interface FieldFacts {
  /** Meaning, one sentence or two, for docs/configuration.md. */
  means: string;
  /** What is allowed, to stand behind "allowed:". */
  allowed: string;
  /** True where a change takes effect only in a new process. */
  restart: boolean;
  /** Shown instead of the default where that is computed at start. */
  defaultText?: string;
  /** Never shown by the admin server or written to a log. */
  secret?: boolean;
}

/** The facts of every leaf of the schema. */
export const fieldFacts = z.registry<FieldFacts>();

/** What the caller of a builder says; `allowed` comes from the builder itself. */
export type Told = Omit<FieldFacts, 'allowed' | 'restart'> & { live?: boolean };

/** Attaches facts to a schema, which must be this field's alone. */
export function field<T extends z.ZodType>(schema: T, allowed: string, { live, ...told }: Told): T {
  if (fieldFacts.has(schema)) throw new Error(`two fields share a schema: ${told.means}`);
  fieldFacts.add(schema, { ...told, allowed, restart: live !== true });
  return schema;
}

/** A whole number from min to max. */
export function integer(min: number, max: number, byDefault: number, told: Told) {
  const schema = z.int().min(min).max(max).default(byDefault);
  return field(schema, `a whole number from ${min} to ${max}`, told);
}

/** A duration in whole milliseconds. */
export function durationMs(min: number, max: number, byDefault: number, told: Told) {
  return field(z.int().min(min).max(max).default(byDefault), `whole milliseconds, ${min} to ${max}`, told);
}

/** A size in whole bytes. */
export function sizeBytes(min: number, max: number, byDefault: number, told: Told) {
  return field(z.int().min(min).max(max).default(byDefault), `whole bytes, ${min} to ${max}`, told);
}

/** A switch. */
export function flag(byDefault: boolean, told: Told) {
  return field(z.boolean().default(byDefault), 'true or false', told);
}

/** One of a few words. */
export function oneOf<const T extends readonly [string, ...string[]]>(
  words: T,
  byDefault: T[number],
  told: Told,
) {
  return field(z.enum(words).default(byDefault as never), words.join(', '), told);
}

/** A TCP port to listen on. */
export function listenPort(byDefault: number, told: Told) {
  return field(
    z.int().min(0).max(65_535).default(byDefault),
    'a port from 0 to 65535; 0 = any free one',
    told,
  );
}

/** An IP address to listen on. */
export function listenHost(byDefault: string, told: Told) {
  return field(z.string().refine(isAddress).default(byDefault), 'an IPv4 or IPv6 address', told);
}

/** An IP address to listen on; null: all, in the family that the machine has. */
export function listenEverywhere(told: Told) {
  return field(z.string().refine(isAddress).nullable().default(null), 'an IPv4 or IPv6 address', {
    ...told,
    defaultText: 'all: `0.0.0.0`, or `::` with a registry for many machines where this one has IPv6 only',
  });
}

/** An address of the loopback interface. */
export function loopbackHost(byDefault: string, told: Told) {
  const schema = z.string().refine(isLoopback).default(byDefault);
  return field(schema, 'an address of the loopback interface, 127.0.0.0/8 or ::1', told);
}

/** Permission bits in octal, as text: YAML would read a bare 0600 as six hundred. */
export function octalMode(byDefault: string, told: Told) {
  const schema = z
    .string()
    .regex(/^0?[0-7]{3}$/)
    .default(byDefault);
  return field(schema, `octal digits in quotes, such as "${byDefault}"`, told);
}

/** A file system path; relative ones start from the configuration file's directory. */
export const path = z
  .string()
  .refine((text) => text.length > 0 && !text.includes('\0') && Buffer.byteLength(text) <= 4095);

/** A unix socket's address holds at most this many bytes of path on Linux. */
export const SOCKET_PATH_MAX_BYTES = 107;

/** A unix socket's path that has a default of its own. */
export function socketPath(told: Told) {
  const schema = path
    .refine((text) => Buffer.byteLength(text) <= SOCKET_PATH_MAX_BYTES)
    .nullable()
    .default(null);
  return field(schema, `a path of at most ${SOCKET_PATH_MAX_BYTES} bytes`, told);
}

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

/** Text without control characters that is at most 256 bytes long, such as a name. */
export const label = z.string().refine((text) => !CONTROL.test(text) && Buffer.byteLength(text) <= 256);

/** How severe messages in the log must be. */
export function logLevel(told: Omit<Told, 'means'> = {}) {
  return oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info', {
    means: 'The least severe messages that are written.',
    ...told,
  });
}

/** True for an IPv4 or IPv6 address without a zone. */
export function isAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%');
}

/** Whether a text is a network such as 10.0.0.0/8, or one address. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const bits = isIP(address) === 4 ? 32 : 128;
  if (isIP(address) === 0 || address.includes('%') || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}

/** True for an address of the loopback interface. */
export function isLoopback(text: string): boolean {
  return (isIP(text) === 4 && text.startsWith('127.')) || text === '::1';
}

/** True for the address that stands for all: `0.0.0.0`, `::`. */
export function isUnspecified(address: string): boolean {
  return /^(0\.0\.0\.0|[0:]+)$/.test(address);
}
