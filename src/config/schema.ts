/**
 * The agent's configuration: every field with its default, bounds and meaning. This file is the only place that
 * says so; docs/configuration.md is generated from it and a test keeps it current. Every field has a default, so
 * that an empty file is a valid configuration. Values that depend on the machine (paths, addresses) default to null
 * here and are filled in by resolve-config.ts.
 */
import { z } from 'zod';
import { parseRedisUrl, redisUrlForms } from '../base/redis-url.js';
import {
  durationMs,
  field,
  flag,
  integer,
  isAddress,
  isNetwork,
  isUnspecified,
  listenEverywhere,
  label,
  listenHost,
  listenPort,
  logLevel,
  loopbackHost,
  octalMode,
  oneOf,
  path,
  sizeBytes,
  socketPath,
} from './field.js';
import { programSchema } from './publish-schema.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const UID_MAX = 0xffff_fffe;

/** The balancers that the engine knows. */
export const BALANCERS = ['p2c', 'round-robin'] as const;
export type Balancer = (typeof BALANCERS)[number];

const nonEmpty = label.refine((text) => text.length > 0);
const ringBytes = z
  .int()
  .min(256 * KIB)
  .max(64 * MIB)
  .refine((size) => (size & (size - 1)) === 0);

const uids = z.array(z.int().min(0).max(UID_MAX)).max(64);

const socket = z.strictObject({
  path: socketPath({
    means:
      "Where the unix socket for the applications stands. Its directory is made if it is missing, for the agent's user only.",
    defaultText: 'the default socket, where the SDK looks too',
  }),
  mode: octalMode('0600', {
    means: 'Permission bits of the socket. With `group` set, "0660" lets that group in.',
  }),
  group: field(
    z
      .union([nonEmpty, z.int().min(0).max(UID_MAX)])
      .nullable()
      .default(null),
    'name or number of a group, or null',
    { means: "Group that the socket belongs to; null leaves the agent's own." },
  ),
  allowUids: field(uids.nullable().default(null), 'a list of at most 64 user ids', {
    means: "Users whose processes may connect, whatever the socket's permissions let through.",
    defaultText: "the agent's own user and root",
  }),
});

const loopback = z.strictObject({
  enabled: flag(true, {
    means: 'Whether applications may connect over TCP where they cannot use the unix socket.',
  }),
  host: loopbackHost('127.0.0.1', { means: 'Address of that listener.' }),
  port: listenPort(15_100, { means: 'Port of that listener.' }),
  allowUids: field(
    z
      .union([z.literal('any'), uids])
      .nullable()
      .default(null),
    'a list of at most 64 user ids, or any',
    {
      means:
        'Users whose processes may connect there, to call, to publish and to register old servers. The kernel tells who made the socket at the other end; behind a proxy or a port forwarding that is the proxy. Where it does not tell, `loopback.token` is needed. `any`: every local process may connect.',
      defaultText: '`socket.allowUids`',
    },
  ),
  token: field(
    z
      .string()
      .regex(/^[\x21-\x7e]{8,256}$/)
      .nullable()
      .default(null),
    '8 to 256 visible ASCII characters, or null',
    {
      means:
        'Token that an application must show on this port besides. With it, one whose user the kernel does not tell may connect, too. null: none is asked for.',
      secret: true,
    },
  ),
});

const inbound = z.strictObject({
  host: listenEverywhere({
    means: 'Address on which other agents reach this one. `::` takes IPv4 and IPv6.',
  }),
  port: listenPort(15_101, { means: 'Port on which other agents reach this one.' }),
});

const advertise = z.strictObject({
  host: field(
    z
      .string()
      .refine((text) => isAddress(text) && !isUnspecified(text))
      .nullable()
      .default(null),
    'an IPv4 or IPv6 address that others can reach',
    {
      means: 'Address that is put into the registry.',
      defaultText:
        '`inbound.host` if it is one address; else the first IPv4 address that others can reach (also a private one); else, with a registry for many machines, such an IPv6 address, and without one the agent does not start; with the embedded registry 127.0.0.1',
    },
  ),
  waitMs: durationMs(0, 3_600_000, 30_000, {
    means:
      'How long an agent that has no address for others waits for a network before it gives up its start.',
  }),
  port: field(z.int().min(1).max(65_535).nullable().default(null), 'a port from 1 to 65535', {
    means: 'Port that is put into the registry; differs from `inbound.port` behind a port mapping.',
    defaultText: 'the port that the inbound listener got',
  }),
  zone: field(label.default(''), 'text of at most 256 bytes without control characters', {
    means: 'Zone or data centre of this agent, put into the registry with each instance.',
  }),
});

const admin = z.strictObject({
  enabled: flag(true, { means: 'Whether the admin server runs: state, metrics, health.' }),
  host: listenHost('127.0.0.1', {
    means:
      'Address of the admin server. It has no access control: leave it on loopback, or on an address that only a scraper reaches.',
  }),
  port: listenPort(15_102, { means: 'Port of the admin server.' }),
});

const password = (means: string) =>
  field(
    z
      .string()
      .refine((text) => text.length > 0 && text.length <= 1024)
      .nullable()
      .default(null),
    'text of 1 to 1024 characters, or null',
    { means, secret: true },
  );

const registry = z.strictObject({
  type: oneOf(['embedded', 'redis'], 'embedded', {
    means:
      'Kind of registry. `embedded`: files in a directory that the agents of one machine share; `redis`: for many machines (docs/registry.md). `registry: redis://...` is short for type and url.',
  }),
  leaseMs: durationMs(1_000, 600_000, 10_000, {
    means:
      'How long an instance of an agent that died without a word stays listed. Renewed after a third of it.',
  }),
  sweepMs: durationMs(100, 60_000, 2_000, {
    means:
      'How often the whole directory is looked through, or the versions in Redis are compared; changes are usually seen at once.',
  }),
  directory: field(path.nullable().default(null), 'a path', {
    means: 'Directory of the embedded registry. It is made if it is missing.',
    defaultText: 'the directory `registry` beside the socket',
  }),
  mode: octalMode('0700', {
    means:
      'Permission bits of that directory when the agent makes it. Who may write there decides where requests go.',
  }),
  url: field(
    z
      .string()
      .max(2048)
      .refine((text) => !('wrong' in parseRedisUrl(text)))
      .nullable()
      .default(null),
    redisUrlForms,
    { means: 'Where Redis is.', defaultText: 'none; needed with type `redis`', secret: true },
  ),
  password: password('Password of Redis, where it does not stand in the URL.'),
  sentinelPassword: password('Password of the sentinels.'),
  caFile: field(path.nullable().default(null), 'a path, or null', {
    means: "PEM file with the authorities that may have signed Redis' certificate; null trusts the system's.",
  }),
  prefix: field(
    z
      .string()
      .regex(/^[A-Za-z0-9_.-]{1,64}$/)
      .default('ringside'),
    '1 to 64 letters, digits, `_`, `.`, `-`',
    {
      means: 'First part of all keys in Redis; meshes with different ones do not see each other.',
    },
  ),
  timeoutMs: durationMs(50, 60_000, 1_000, {
    means: 'How long one command to Redis, or connecting, may take.',
  }),
  cacheFile: field(path.nullable().default(null), 'a path', {
    means: 'File with the last good lists, from which an agent starts while Redis is down.',
    defaultText: 'the file `registry-cache.json` beside the socket',
  }),
  protectShare: field(z.number().min(0).max(1).default(0.5), 'a number from 0 to 1', {
    means:
      "If more than this share of a service's instances vanishes from Redis without having left, all of them serve on for a while. 1 turns the protection off.",
  }),
  protectMs: durationMs(0, 3_600_000, 60_000, { means: 'How long they serve on at most.' }),
});

const log = z.strictObject({
  level: logLevel({ live: true }),
});

const timeouts = z.strictObject({
  defaultMs: durationMs(1, 3_600_000, 5_000, {
    means: 'Deadline of a request that states none.',
    live: true,
  }),
  maxMs: durationMs(1, 3_600_000, 60_000, {
    means: 'Longest deadline a request may ask for; a longer one is shortened to it.',
    live: true,
  }),
  connectMs: durationMs(1, 60_000, 1_000, { means: 'How long connecting to another agent may take.' }),
  drainMs: durationMs(0, 600_000, 10_000, {
    means:
      'How long an agent that stops goes on for its applications, until they have closed their links. Requests that run then have at most two seconds more.',
    live: true,
  }),
  keepaliveMs: durationMs(100, 600_000, 10_000, {
    means:
      'How long a link to another agent may be silent before it is probed; without an answer for as long again it is closed.',
  }),
});

const balancer = z.strictObject({
  default: oneOf(BALANCERS, 'p2c', {
    means: 'How an endpoint is picked. `p2c`: the less busy of two at random; `round-robin`: in turn.',
    live: true,
  }),
  services: field(
    z
      .record(nonEmpty, z.enum(BALANCERS))
      .refine((map) => Object.keys(map).length <= 4096)
      .default({}),
    `service names, each with one of ${BALANCERS.join(', ')}; at most 4096`,
    {
      means: 'Services that differ from the default.',
      live: true,
    },
  ),
});

const shm = z.strictObject({
  enabled: flag(true, { means: 'Whether applications on the unix socket get shared memory.' }),
  ringBytes: field(ringBytes.default(512 * KIB), `a power of two, ${256 * KIB} to ${64 * MIB} bytes`, {
    means: 'Capacity of each of the two rings of a link, at most; an application may ask for less.',
  }),
});

const worker = z.strictObject({
  scheduling: oneOf(['auto', 'normal'], 'auto', {
    means:
      "Scheduling class of the thread that moves the messages. `auto`: SCHED_BATCH as long as nobody keeps its core busy, so that it does not interrupt who wakes it, which spares waking halted cores; else the kernel's normal one. `normal`: always the normal one.",
  }),
  busyPollUs: integer(0, 1_000, 25, {
    means:
      'Microseconds for which that thread looks for messages before it sleeps, where that has mostly found some: it then need not be woken, which costs more. It gives its core to whoever is ready to run meanwhile. 0: never, for where the time on a core is scarce.',
  }),
});

const takeover = z.strictObject({
  enabled: flag(true, {
    means: 'Whether a new process may take over from this agent (`ringside agent --takeover`).',
  }),
  path: socketPath({
    means:
      'Where the new process finds the running one. The directory is made for this user only; it must not be visible to applications.',
    defaultText:
      "the socket's name in the directory beside that of the socket, with `-takeover` behind its name",
  }),
  deadlineMs: durationMs(100, 600_000, 30_000, {
    means: 'How long a takeover may take until the freeze before both processes give it up.',
  }),
  freezeMs: durationMs(1, 60_000, 1_000, {
    means: 'How long the running agent stands still for it at most, before it goes on by itself.',
  }),
});

const legacy = z.strictObject({
  registration: oneOf(['loopback', 'any', 'off'], 'loopback', {
    means:
      'Who may register servers with calls of the legacy protocol (`/service/moa-admin`): `loopback`: who may use the loopback port or the socket; `any`: whoever reaches the inbound port, too, such as old servers on machines without an agent, but of the users of this machine only those of `loopback.allowUids`; `off`: nobody.',
  }),
  networks: field(
    z.array(z.string().refine(isNetwork)).max(256).nullable().default(null),
    'a list of at most 256 networks such as 10.0.0.0/8 or fd00::/8, or null',
    {
      means:
        "Networks whose servers may be registered so, beside this machine's own addresses. Link-local and metadata addresses never may.",
      defaultText:
        'private networks (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7) for callers on other machines; for those on this machine only its own addresses',
    },
  ),
});

const egressFallback = z.strictObject({
  enabled: flag(false, {
    means:
      'Whether applications may use another agent of the same `app` while their own is down. Needs `loopback.token`, the same for all these agents. For applications that serve nothing.',
  }),
  host: listenEverywhere({
    means:
      'Address on which this agent takes in applications of others; `loopback.token` is asked for there.',
  }),
  port: listenPort(15_103, { means: 'Port of that listener; others learn it from the registry.' }),
  force: flag(false, {
    means:
      'Allows it although applications or programs beside this agent serve something. While their agent is down they are not called, whatever way their own calls take.',
  }),
});

const limits = z.strictObject({
  links: integer(8, 65_536, 4_096, {
    means:
      "Links of all kinds. From 64 on they are shared: applications over TCP hold half of them at most, those on the socket and other agents four fifths each, and a part is kept for the agent's own links and for applications on its socket. Where there is no room, connections that have said nothing yet go first.",
  }),
  linksPerUid: integer(1, 65_536, 1_024, {
    means:
      'Links to the processes of one user, finished or still opening. From 64 on half of them at most over TCP, so that the socket stays open to his applications.',
  }),
  linksPerAddress: integer(1, 65_536, 1_024, {
    means:
      'Links that other agents (or old clients) at one address open on the inbound port, finished or still opening.',
  }),
  pending: integer(16, 1_048_576, 65_536, {
    means:
      'Requests that await a reply. One link gets four fifths of them at most, and one app behind another agent four fifths of what its link gets, so that others find room.',
  }),
  parked: integer(1, 65_536, 4_096, {
    means:
      'Requests that wait for a decision about their flow. One link gets four fifths of them at most, unless they are fewer than eight.',
  }),
  parkedBytes: sizeBytes(128 * KIB, 1_024 * MIB, 16 * MIB, {
    means: 'Bytes of the requests that wait for a decision, shared in the same way.',
  }),
  waiting: integer(1, 65_536, 4_096, {
    means:
      'Requests that wait until the instances of their service are known, or (`waitForReady`) until one is there. The requests to one service get four fifths of them at most, and so do those of one link, unless they are fewer than eight.',
  }),
  waitingBytes: sizeBytes(128 * KIB, 1_024 * MIB, 16 * MIB, {
    means: 'Bytes of the requests that wait for an instance, shared in the same way.',
  }),
  flows: integer(16, 1_048_576, 16_384, { means: 'Flows in the flow table; the longest unused makes room.' }),
  upcallsPerSecondPerLink: integer(1, 1_000_000, 1_000, {
    means: 'Decisions that one link may ask for per second, so that invented names cannot flood the agent.',
  }),
  outboundBytesPerLink: sizeBytes(256 * KIB, 1_024 * MIB, 8 * MIB, {
    means:
      'Bytes queued for one link that is slow to read. Requests from one link get four fifths of them at most, those of one app behind another agent two thirds, so that others find room.',
  }),
  bodyBytes: sizeBytes(64 * KIB, 4_095 * MIB, 64 * MIB, {
    means: 'Longest body that is passed on; bodies over 64 KiB travel in pieces.',
  }),
  streamsPerLink: integer(1, 65_536, 256, {
    means:
      'Bodies in pieces on their way to one link, those of requests shared in the same way unless they are fewer than eight; each may have 256 KiB queued.',
  }),
  legacyMessageBytes: sizeBytes(64 * KIB, 64 * MIB, 8 * MIB, {
    means: 'Longest request or reply of the legacy protocol; it is held in memory whole.',
  }),
  legacyBytes: sizeBytes(128 * KIB, 4_095 * MIB, 64 * MIB, {
    means:
      'Bytes of the legacy protocol that all its connections hold together. One gets four fifths of them at most. At least twice `limits.legacyMessageBytes`.',
  }),
  legacyConnectionsPerInstance: integer(1, 1_024, 32, {
    means:
      'Connections to one server of the legacy protocol, each of which does one request at a time; further requests wait. One caller keeps four fifths of them busy at most.',
  }),
  services: integer(1, 65_536, 1_024, { means: 'Services watched in the registry.' }),
  publications: integer(1, 65_536, 1_024, {
    means:
      "Instances that this agent's applications, and the programs under `publish`, may be together. One application gets four fifths of them at most.",
  }),
  instances: integer(1, 1_048_576, 16_384, { means: 'Instances read from the registry.' }),
});

const filter = z.strictObject({
  module: path,
  services: z.array(nonEmpty).min(1).max(1024).default(['*']),
});

/** The configuration file, as it is read. */
export const configSchema = z.strictObject({
  app: field(nonEmpty.default('app'), 'text of 1 to 256 bytes without control characters', {
    means: 'Name of the application beside this agent.',
  }),
  socket: socket.prefault({}),
  loopback: loopback.prefault({}),
  inbound: inbound.prefault({}),
  advertise: advertise.prefault({}),
  admin: admin.prefault({}),
  registry: registry.prefault({}),
  log: log.prefault({}),
  timeouts: timeouts.prefault({}),
  balancer: balancer.prefault({}),
  shm: shm.prefault({}),
  worker: worker.prefault({}),
  takeover: takeover.prefault({}),
  legacy: legacy.prefault({}),
  egressFallback: egressFallback.prefault({}),
  limits: limits.prefault({}),
  publish: field(
    z.array(programSchema).max(1_024).default([]),
    'a list of at most 1024 entries {service, group, version, protocol, address, weight, zone, healthCheck}',
    {
      means:
        'Programs in other languages that the agent publishes under its own address and forwards to (docs/legacy.md, "Publishing").',
      live: true,
    },
  ),
  filters: field(
    z.array(filter).max(64).default([]),
    'a list of at most 64 entries {module: path, services: [names, or "*" for all]}',
    {
      means:
        'Filters written by the user: JavaScript modules, relative to the configuration file, each with the services whose requests it sees.',
      live: true,
    },
  ),
});

/** The configuration file with its defaults, before machine-dependent values are filled in. */
export type ConfigFile = z.output<typeof configSchema>;
