// Checks the types of what applications give to `connect`, `serve` and to calls, before anything else is done with it: a number where text belongs is
// told by the option's name instead of failing somewhere behind. Bounds are checked where options are read (settings.ts, connect.ts). Names that are not
// known are not refused, as a later version may know them, but told.
import { didYouMean } from '../config/did-you-mean.js';
import { whyNoName, whyNoService } from '../protocol/name.js';
import { refused } from './refusal.js';
import type { CallOptions, ConnectOptions, MeshOptions, ServeOptions } from './types.js';

/** What is wrong with a value, in words that follow the option's name. */
type Check = (value: unknown) => string | undefined;
type Checks<Options> = Record<keyof Options, Check>;

const must =
  (type: 'string' | 'number' | 'boolean' | 'function', words: string): Check =>
  (value) =>
    typeof value === type ? undefined : `must be ${words}`;
const text = must('string', 'a string');
const number = must('number', 'a number');
const flag = must('boolean', 'true or false');
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An object of which each member that is there is checked. */
const members =
  (check: Check, names: readonly string[]): Check =>
  (value) => {
    if (!isObject(value)) return `must be an object with ${names.join(' and ')}`;
    for (const [name, member] of Object.entries(value)) {
      if (!names.includes(name)) return `does not know ${name}, only ${names.join(' and ')}`;
      const wrong = member === undefined ? undefined : check(member);
      if (wrong !== undefined) return `${wrong} (${name})`;
    }
    return undefined;
  };
const socketAndTcp = members(text, ['socket', 'tcp']);
const signalOf: Check = (value) =>
  isObject(value) && typeof value['addEventListener'] === 'function' && typeof value['aborted'] === 'boolean'
    ? undefined
    : 'must be an AbortSignal';

const handlers: Check = (value) => {
  if (typeof value === 'function') return undefined;
  if (!isObject(value)) return 'must be a function, or an object with a function for each method';
  for (const [name, handler] of Object.entries(value)) {
    const wrong = whyNoName(name);
    if (wrong !== undefined) return `names a method that ${wrong}: ${JSON.stringify(name)}`;
    if (typeof handler !== 'function') return `must hold functions: the handler of ${name} is not one`;
  }
  return undefined;
};

const attachments: Check = (value) => {
  if (!isObject(value)) return 'must be an object of strings';
  for (const [name, member] of Object.entries(value)) {
    if (typeof member !== 'string') return `must be an object of strings, and ${name} is none`;
  }
  return undefined;
};

const mesh: Checks<MeshOptions> = {
  app: whyNoName,
  agent: (value) => (typeof value === 'string' ? undefined : socketAndTcp(value)),
  agentUids: (value) =>
    typeof value === 'string' || Array.isArray(value)
      ? undefined
      : 'must be a list of at most 64 user ids, or "any"',
  transport: text,
  token: text,
  mesh: flag,
  ringBytes: number,
  connectTimeoutMs: number,
  keepAliveMs: number,
  backoffMs: members(number, ['min', 'max']),
  drainTimeoutMs: number,
  log: must('function', 'a function'),
  maxPendingCalls: number,
  maxOutboundBytes: number,
  maxBodyBytes: number,
  maxStreams: number,
  maxStreamBytes: number,
};
const endpoints: Check = (value) => (isObject(value) ? undefined : 'must map services to lists of host:port');
const known: { connect: Checks<ConnectOptions>; serve: Checks<ServeOptions> } = {
  connect: { ...mesh, timeoutMs: number, waitForReady: flag, lazy: flag, endpoints },
  serve: {
    ...{ ...mesh, timeoutMs: number, waitForReady: flag, lazy: flag, endpoints },
    service: (value) =>
      value === 'ringside.agent' ? 'is the name of the agent itself' : whyNoService(value),
    group: whyNoName,
    version: whyNoName,
    weight: (value) =>
      Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 1_000_000
        ? undefined
        : 'must be a whole number from 0 to 1000000',
    methods: handlers,
    maxConcurrentRequests: number,
    defaultTimeoutMs: number,
    listen: text,
  },
};

/**
 * Checks the options of `connect` or `serve`.
 *
 * @returns a line for each option that is not known
 * @throws MeshError INVALID_ARGUMENT that names the option
 */
export function checkOptions(of: 'connect' | 'serve', options: unknown): string[] {
  if (!isObject(options)) throw refused('INVALID_ARGUMENT', `the options of ${of} must be an object`);
  const checks: Record<string, Check> = known[of];
  if (of === 'serve') {
    for (const name of ['service', 'methods']) {
      if (options[name] === undefined) throw refused('INVALID_ARGUMENT', `serve needs the option ${name}`);
    }
  }
  const unknown: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, name)) unknown.push(unknownOption(of, name, Object.keys(checks)));
    else if (value !== undefined) {
      const wrong = checks[name]!(value);
      if (wrong !== undefined) throw refused('INVALID_ARGUMENT', `${name} ${wrong}`);
    }
  }
  return unknown;
}

const ofCalls: Checks<CallOptions> = {
  timeoutMs: number,
  hashKey: text,
  group: text,
  version: text,
  contentType: text,
  traceparent: text,
  tracestate: text,
  waitForReady: flag,
  attachments,
  signal: signalOf,
};

/**
 * Checks the options of one call; the names of services, methods and groups are checked where they are encoded (call-headers.ts).
 *
 * @param onUnknown gets a line for each option that is not known
 * @throws MeshError INVALID_ARGUMENT that names the option
 */
export function checkCallOptions(options: CallOptions, onUnknown: (line: string) => void): void {
  if (!isObject(options)) throw refused('INVALID_ARGUMENT', 'the options of a call must be an object');
  // Runs for every call that has options: no list of them is made.
  for (const name in options) {
    const value = options[name];
    if (value === undefined) continue;
    const check = Object.hasOwn(ofCalls, name) ? ofCalls[name as keyof CallOptions] : undefined;
    if (check === undefined) onUnknown(unknownOption('a call', name, Object.keys(ofCalls)));
    else {
      const wrong = check(value);
      if (wrong !== undefined) throw refused('INVALID_ARGUMENT', `${name} ${wrong}`);
    }
  }
}

function unknownOption(of: string, name: string, names: readonly string[]): string {
  const meant = didYouMean(name, names);
  return `the option ${name} of ${of} is not known and is ignored${meant === undefined ? '' : `: did you mean ${meant}?`}`;
}
