/**
 * Where Redis is, as one URL says it: a single server, servers behind sentinels, or a cluster, each plain or over TLS.
 * Read by the configuration's check and by the Redis registry, so that what is accepted is what can be opened.
 */

/** Sentinels and cluster nodes in one URL, at most. */
const MAX_NODES = 32;

/** One host and port. */
export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

/** See the file's head. */
export interface RedisAddress {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly nodes: readonly RedisNode[];
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  /** Number of the database; 0 in a cluster. */
  readonly db: number;
  /** Name that the sentinels know the master by; only with sentinels. */
  readonly master?: string;
  /** The URL without password, for people. */
  readonly shown: string;
}

/** What is allowed, for error texts. */
export const redisUrlForms =
  'redis://[user:password@]host[:port][/db], redis+sentinel://host:port,.../master[/db] or redis+cluster://host:port,...; rediss for TLS';

const form = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/]*)@)?([^/@?#]+)(?:\/([^?#]*))?$/;

/** Reads a URL. @returns the address, or what is wrong with it */
export function parseRedisUrl(url: string): RedisAddress | { wrong: string } {
  const match = form.exec(url);
  if (!match) return { wrong: 'is no URL of a Redis' };
  const [, scheme = '', variant, credentials, hosts = '', path = ''] = match;
  const kind = variant === '+sentinel' ? 'sentinel' : variant === '+cluster' ? 'cluster' : 'single';
  const nodes = hosts.split(',').map((text) => nodeOf(text, kind === 'sentinel' ? 26_379 : 6_379));
  if (nodes.some((node) => node === undefined)) return { wrong: 'has a host or port that cannot be' };
  if (nodes.length > MAX_NODES) return { wrong: `names more than ${MAX_NODES} servers` };
  if (kind === 'single' && nodes.length > 1)
    return { wrong: 'names several servers without +sentinel or +cluster' };
  const parts = path === '' ? [] : path.split('/');
  const master = kind === 'sentinel' ? decoded(parts.shift() ?? '') : undefined;
  if (kind === 'sentinel' && !master) return { wrong: 'does not name the master' };
  const [dbText = '0', ...rest] = parts;
  if (rest.length > 0 || !/^\d{1,4}$/.test(dbText)) return { wrong: 'has a database that is no number' };
  if (kind === 'cluster' && dbText !== '0') return { wrong: 'names a database, and a cluster has only one' };
  const login = credentialsOf(credentials);
  if (login === undefined) return { wrong: 'has a user or password that is not URL-encoded' };
  return {
    kind,
    nodes: nodes as RedisNode[],
    tls: scheme === 'rediss',
    ...login,
    db: Number(dbText),
    ...(master === undefined ? {} : { master }),
    shown: url.replace(/\/\/[^@/]*@/, '//'),
  };
}

function nodeOf(text: string, defaultPort: number): RedisNode | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  return port >= 1 && port <= 65_535 ? { host: match[1] ?? match[2] ?? '', port } : undefined;
}

function credentialsOf(text = ''): { username?: string; password?: string } | undefined {
  const colon = text.indexOf(':');
  const username = decoded(colon < 0 ? text : text.slice(0, colon));
  const password = colon < 0 ? '' : decoded(text.slice(colon + 1));
  if (username === undefined || password === undefined) return undefined;
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
