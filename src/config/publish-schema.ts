/**
 * What `publish` of the configuration says: programs beside the agent that it publishes and forwards to, with no more code in
 * them than a server of the legacy protocol has (docs/legacy.md), or one that speaks mesh. Part of src/config/schema.ts.
 */
import { z } from 'zod';
import { durationMs, field, integer, isAddress, label, SOCKET_PATH_MAX_BYTES } from './field.js';
import type { Told } from './field.js';

/** Services that every agent answers itself. */
const OWN_SERVICES = ['ringside.agent', '/service/lookup', '/service/moa-admin'];

/** What is spoken to a program, and how each may be probed: the first is the default. */
export const PROBES = { legacy: ['legacy-ping', 'tcp'], mesh: ['mesh-ping', 'tcp'] } as const;

const labelText = 'text of at most 256 bytes without control characters';

/** A field of an entry: all of them are followed at once. */
const live = <T extends z.ZodType>(schema: T, allowed: string, told: Told) =>
  field(schema, allowed, { ...told, live: true });

const healthCheck = z.strictObject({
  kind: live(
    z.enum(['legacy-ping', 'mesh-ping', 'tcp']).nullable().default(null),
    'legacy-ping, mesh-ping, tcp',
    {
      means:
        'How the program is asked whether it is there: PING of the legacy protocol, a mesh ping, or only a connection.',
      defaultText: 'the ping of its protocol',
    },
  ),
  intervalMs: durationMs(10, 3_600_000, 1_000, { means: 'Time between two checks.', live: true }),
  timeoutMs: durationMs(10, 60_000, 1_000, { means: 'How long an answer may take.', live: true }),
  failures: integer(1, 1_000, 3, {
    means: 'Failures in a row after which the instance is taken out of the registry.',
    live: true,
  }),
  successes: integer(1, 1_000, 1, {
    means: 'Successes in a row after which it is put there, at first and again.',
    live: true,
  }),
});

/** One program. */
export const programSchema = z.strictObject({
  service: live(
    label.refine((text) => text.length > 0 && !OWN_SERVICES.includes(text)),
    `text of 1 to 256 bytes without control characters, none of ${OWN_SERVICES.join(', ')}`,
    { means: 'The service it serves.', defaultText: 'none; needed' },
  ),
  group: live(label.default(''), labelText, { means: 'Group of the instance.' }),
  version: live(label.default(''), labelText, { means: 'Version of the instance.' }),
  protocol: live(z.enum(['legacy', 'mesh']), 'legacy, mesh', {
    means: 'What the program speaks.',
    defaultText: 'none; needed',
  }),
  address: live(
    z.string().refine(isProgramAddress),
    `"host:port" with an IP address, such as "127.0.0.1:8080", or the absolute path of a unix socket, at most ${SOCKET_PATH_MAX_BYTES} bytes`,
    { means: 'Where the program listens.', defaultText: 'none; needed' },
  ),
  weight: integer(0, 1_000_000, 100, {
    means: 'Its share of the requests beside other instances; 0 takes none.',
    live: true,
  }),
  zone: live(label.nullable().default(null), `${labelText}, or null`, {
    means: 'Zone of the instance.',
    defaultText: '`advertise.zone`',
  }),
  healthCheck: healthCheck.prefault({}),
});

/** See {@link programSchema}. */
export type ProgramEntry = z.output<typeof programSchema>;

/** Host and port of `host:port`; undefined where the text is none with an IP address. */
export function hostAndPort(text: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  if (!isAddress(host) || host.includes(':') !== (bracketed !== undefined)) return undefined;
  const number = Number(port);
  return number >= 1 && number <= 65_535 ? { host, port: number } : undefined;
}

function isProgramAddress(text: string): boolean {
  if (!text.startsWith('/')) return hostAndPort(text) !== undefined;
  return !text.includes('\0') && Buffer.byteLength(text) <= SOCKET_PATH_MAX_BYTES;
}
