/**
 * An instance: one application that serves one service, reachable through the agent at host:port. Everything that
 * comes from a registry was written by somebody else and is checked here before the agent uses it; everything the
 * agent publishes passes the same check, so that no agent can publish what its peers would refuse.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { MeshError } from '../base/errors.js';

/** Longest service, group, ... in bytes of UTF-8; the wire format's limit for names. */
const NAME_MAX_BYTES = 256;
/** Entries of `metadata`, at most. */
const METADATA_MAX_ENTRIES = 64;
/** The protocol that agents of this version speak to each other. */
export const MESH_PROTOCOL = 'mesh/1';
/** The legacy protocol (docs/legacy.md), under the name that old clients know it by. */
export const LEGACY_PROTOCOL = 'redis';

// Control characters would let a hostile registry write lines of its own into logs and terminals.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

const name = z
  .string()
  .refine((text) => !CONTROL.test(text), 'must not contain control characters')
  .refine((text) => Buffer.byteLength(text) <= NAME_MAX_BYTES, `must be at most ${NAME_MAX_BYTES} bytes`)
  .refine((text) => !/\p{Surrogate}/u.test(text), 'must be well-formed Unicode');
const someName = name.refine((text) => text.length > 0, 'must not be empty');

const instanceSchema = z.object({
  id: someName,
  service: someName,
  group: name.default(''),
  version: name.default(''),
  host: z.string().refine((text) => isIP(text) !== 0, 'must be an IPv4 or IPv6 address'),
  port: z.int().min(1).max(65_535),
  weight: z.int().min(0).max(1_000_000).default(100),
  zone: name.default(''),
  protocols: z.array(someName).max(16).default([MESH_PROTOCOL]),
  metadata: z
    .record(name, name)
    .refine((entries) => Object.keys(entries).length <= METADATA_MAX_ENTRIES, 'has too many entries')
    .default({}),
  app: name.default(''),
  epoch: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
});

/**
 * One published instance. `host` is an IP address, `weight` 0 to 1,000,000 (100 is usual, 0 takes no traffic),
 * `epoch` grows with each start of the same instance (milliseconds since 1970 at its start): of two registrations
 * of one id the one with the higher epoch stands.
 */
export interface Instance {
  readonly id: string;
  readonly service: string;
  readonly group: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly zone: string;
  readonly protocols: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly app: string;
  readonly epoch: number;
}

/**
 * Checks something that claims to be an instance and returns a frozen copy with its known fields only.
 * @returns the instance, or what is wrong with it
 */
export function parseInstance(value: unknown): { instance: Instance } | { wrong: string } {
  const result = instanceSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    return { wrong: `${issue?.path.join('.') || 'instance'}: ${issue?.message ?? 'is malformed'}` };
  }
  Object.freeze(result.data.protocols);
  Object.freeze(result.data.metadata);
  return { instance: Object.freeze(result.data) };
}

/** {@link parseInstance} as a schema, for what holds instances. */
export const instanceIn = z.unknown().transform((value, context): Instance => {
  const parsed = parseInstance(value);
  if ('instance' in parsed) return parsed.instance;
  context.addIssue({ code: 'custom', message: parsed.wrong });
  return z.NEVER;
});

/** {@link parseInstance} for what this agent itself registers. @throws {MeshError} saying what is wrong */
export function validInstance(value: unknown): Instance {
  const parsed = parseInstance(value);
  if ('wrong' in parsed) throw new MeshError('INVALID_ARGUMENT', parsed.wrong, { mayHaveRun: false });
  return parsed.instance;
}
