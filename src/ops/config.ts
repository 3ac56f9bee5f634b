/**
 * The ops agent's configuration (ops.yaml): every field with its default, bounds and meaning, as src/config has it for the agent's;
 * the table in docs/ops.md is generated from here. Read once at start by `ringside ops`.
 */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { defaultAgentSocket } from '../base/default-socket.js';
import { errorText } from '../base/errors.js';
import { checkDocument, readConfigText } from '../config/check-document.js';
import { ConfigError } from '../config/config-error.js';
import {
  durationMs,
  field,
  integer,
  listenHost,
  logLevel,
  path,
  sizeBytes,
  socketPath,
} from '../config/field.js';

const MIB = 1024 * 1024;
const argument = z.string().refine((text) => !text.includes('\0') && Buffer.byteLength(text) <= 4096);

const agent = z.strictObject({
  config: field(path.nullable().default(null), 'a path, or null', {
    means:
      "The agent's configuration. Every version runs with the same, so it says where they all listen; null: all defaults.",
  }),
  command: field(
    z
      .array(argument)
      .min(1)
      .max(64)
      .refine(([program]) => program !== '')
      .nullable()
      .default(null),
    'a list of 1 to 64 texts, or null',
    {
      means:
        'Program and arguments that run a version; `{directory}` stands for where it lies, and `agent --config ... --takeover` is put behind as needed.',
      defaultText: "this Node with the `ringside` of the version's package.json",
    },
  ),
  admin: field(
    z
      .url({ protocol: /^https?$/ })
      .nullable()
      .default('http://127.0.0.1:15102'),
    'an http URL, or null',
    {
      means:
        "The agent's admin server, asked for health and error rate. An agent tells its port when it serves and is asked there, or that it has none; then, and with null, only the process is watched.",
    },
  ),
  startMs: durationMs(1_000, 600_000, 60_000, {
    means:
      'How long a new process may take until it is ready, taking over included. Should be longer than its `takeover.deadlineMs`.',
  }),
  stopMs: durationMs(0, 600_000, 30_000, {
    means:
      'How long a process that was asked to end may take until it is killed. Should be longer than its `timeouts.drainMs`.',
  }),
  backoffBaseMs: durationMs(10, 60_000, 500, {
    means: 'Longest wait before an agent that crashed is started again; doubled with each crash in a row.',
  }),
  backoffMaxMs: durationMs(10, 600_000, 30_000, { means: 'Longest such wait at all.' }),
  steadyMs: durationMs(100, 3_600_000, 60_000, {
    means: 'An agent that lived this long counts as well: its next crash is the first in a row.',
  }),
});

const http = z.strictObject({
  socket: socketPath({
    means: "The ops agent's unix socket, mode 0600. Its directory is made for this user only.",
    defaultText: 'the file `ops.sock` in `directory`',
  }),
  host: listenHost('0.0.0.0', { means: 'Address on which it also listens where `http.port` is set.' }),
  port: field(z.int().min(0).max(65_535).nullable().default(null), 'a port from 0 to 65535, or null', {
    means: 'Port on which it also listens; 0: any free one. null: the unix socket only.',
  }),
  token: field(
    z
      .string()
      .regex(/^[\x21-\x7e]{16,256}$/)
      .nullable()
      .default(null),
    '16 to 256 visible ASCII characters, or null',
    {
      means:
        'What a request over TCP must show as `Authorization: Bearer`. Without a token there is no port.',
      secret: true,
    },
  ),
  tokenFile: field(path.nullable().default(null), 'a path, or null', {
    means: 'File with the token, where it shall not stand here; white space around it is ignored.',
  }),
});

const versions = z.strictObject({
  keep: integer(1, 100, 3, {
    means: 'Versions kept on disk, the youngest; the current one and the one before it are kept always.',
  }),
  maxDownloadBytes: sizeBytes(MIB, 16_384 * MIB, 512 * MIB, { means: 'Largest archive.' }),
  maxUnpackedBytes: sizeBytes(MIB, 65_536 * MIB, 2_048 * MIB, { means: 'All files of an archive together.' }),
  maxEntries: integer(10, 10_000_000, 100_000, { means: 'Files, directories and links of an archive.' }),
  maxRatio: integer(2, 2_000, 100, {
    means:
      'How much larger an archive may become when it is unpacked, at any moment of it; its first MiB does not count.',
  }),
  unpackMs: durationMs(1_000, 3_600_000, 300_000, {
    means: 'How long unpacking may take, until all of it is on disk.',
  }),
  checkMs: durationMs(1_000, 600_000, 30_000, {
    means: 'How long each of the checks of a version may take before it is started.',
  }),
  downloadMs: durationMs(1_000, 3_600_000, 600_000, { means: 'How long a download may take.' }),
  stallMs: durationMs(100, 600_000, 15_000, {
    means: 'How long a server may be silent, before its answer and during it.',
  }),
  publicKey: field(path.nullable().default(null), 'a path, or null', {
    means:
      'PEM file with an ed25519 public key. With it, only archives with a signature of it are installed (see Archives).',
  }),
});

const probation = z.strictObject({
  seconds: field(z.number().min(0).max(86_400).default(30), 'seconds, 0 to 86400', {
    means: 'How long a new version is watched before it counts as good.',
  }),
  everyMs: durationMs(50, 60_000, 1_000, { means: 'How often it is looked at.' }),
  answerMs: durationMs(50, 60_000, 2_000, { means: 'How long its admin server may take to answer.' }),
  failures: integer(1, 1_000, 3, {
    means:
      'Looks in a row that find it unwell (no answer; not ready, if the one before was) until it has failed.',
  }),
  maxErrorRate: field(z.number().min(0).max(1).default(0.05), 'a number from 0 to 1', {
    means:
      'Share of the requests since the handoff that may fail with UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, DATA_LOSS or UNKNOWN.',
  }),
  minRequests: integer(1, 1_000_000_000, 50, {
    means: 'Requests since the handoff below which that share says nothing.',
  }),
});

/** The configuration file, as it is read. */
export const opsConfigSchema = z.strictObject({
  directory: field(path.nullable().default(null), 'a path', {
    means: 'Where versions and state are kept. It is made if it is missing, for this user only.',
    defaultText: "the directory `ops` beside the agent's default socket",
  }),
  agent: agent.prefault({}),
  http: http.prefault({}),
  versions: versions.prefault({}),
  probation: probation.prefault({}),
  log: z.strictObject({ level: logLevel() }).prefault({}),
});

/** Where the ops agent's directory is, and with it its socket, unless the configuration says otherwise. */
const defaultDirectory = (): string => join(dirname(defaultAgentSocket()), 'ops');
const socketName = 'ops.sock';

/** Where `ringside upgrade` looks for the ops agent. */
export const defaultOpsSocket = (): string => join(defaultDirectory(), socketName);

type OpsConfigFile = z.output<typeof opsConfigSchema>;

/** The configuration an ops agent runs with: paths are absolute, files are read. */
export interface OpsConfig extends Omit<OpsConfigFile, 'directory' | 'http' | 'versions'> {
  directory: string;
  http: { socket: string; tcp: { host: string; port: number; token: string } | null };
  versions: Omit<OpsConfigFile['versions'], 'publicKey'> & { directory: string; publicKey: KeyObject | null };
}

/**
 * Loads a configuration file; without a path all defaults.
 * @throws {ConfigError} if it cannot be read or used
 */
export function loadOpsConfig(path?: string): OpsConfig {
  return path === undefined
    ? parseOpsConfig('', '(no file)', process.cwd())
    : parseOpsConfig(readConfigText(path), path, dirname(path));
}

/**
 * @param base what relative paths start from
 * @throws {ConfigError} if it cannot be used
 */
export function parseOpsConfig(text: string, source: string, base: string): OpsConfig {
  const { data, at } = checkDocument(text, source, opsConfigSchema, { contradictions });
  const refuse = (name: string, text: string): ConfigError =>
    new ConfigError(source, [{ field: name, ...at(name.split('.')), text }]);
  const readNamed = <T>(name: string, file: string, make: (text: string) => T): T => {
    try {
      return make(readFileSync(resolve(base, file), 'utf8'));
    } catch (error) {
      throw refuse(name, `${file} cannot be used: ${errorText(error)}`);
    }
  };

  const { token, tokenFile, host, port, socket } = data.http;
  const secret = tokenFile === null ? token : readNamed('http.tokenFile', tokenFile, tokenIn);
  const { publicKey, ...versions } = data.versions;
  const directory = resolve(base, data.directory ?? defaultDirectory());
  const { config, command } = data.agent;
  return {
    ...data,
    directory,
    agent: { ...data.agent, config: config === null ? null : resolve(base, config), command },
    http: {
      socket: resolve(base, socket ?? join(directory, socketName)),
      tcp: port === null || secret === null ? null : { host, port, token: secret },
    },
    versions: {
      ...versions,
      directory: join(directory, 'versions'),
      publicKey: publicKey === null ? null : readNamed('versions.publicKey', publicKey, ed25519In),
    },
  };
}

function contradictions({ http, agent }: OpsConfigFile): { field: string; text: string }[] {
  const wrong: { field: string; text: string }[] = [];
  if (http.token !== null && http.tokenFile !== null)
    wrong.push({ field: 'http.tokenFile', text: 'found beside http.token, allowed: one of them' });
  if (http.port !== null && http.token === null && http.tokenFile === null)
    wrong.push({
      field: 'http.port',
      text: 'found without http.token or http.tokenFile, allowed with one of them',
    });
  if (agent.backoffBaseMs > agent.backoffMaxMs)
    wrong.push({
      field: 'agent.backoffBaseMs',
      text: `found ${agent.backoffBaseMs}, allowed: at most agent.backoffMaxMs, ${agent.backoffMaxMs}`,
    });
  return wrong;
}

function tokenIn(text: string): string {
  const token = text.trim();
  if (!/^[\x21-\x7e]{16,256}$/.test(token))
    throw new Error('it must hold 16 to 256 visible ASCII characters');
  return token;
}

function ed25519In(pem: string): KeyObject {
  const key = createPublicKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('it is no ed25519 public key');
  return key;
}
