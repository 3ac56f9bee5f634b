// Asks an agent's admin server; used by the commands that look at a running agent. While one process takes over from another there is
// no admin server for a moment, so one that is not there is asked again for a little while.
import { setTimeout as pause } from 'node:timers/promises';
import { errorText } from '../base/errors.js';
import { ExitError } from './exit-error.js';

const askTimeoutMs = 5_000;
/** How often a server that is not there is looked for, and the pause: counted, because a busy machine is slow on both sides. */
const attempts = 50;
const againMs = 50;
/** What a connection fails with while the server closes, is closed, or is opened by the next process. */
const away = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'];

/**
 * The JSON that the admin server at `admin` answers on `path`; also with status 503, which carries what is not ready.
 * @param signal ends the asking
 * @throws ExitError saying where nobody answered, or what the agent answered instead
 */
export async function askAdmin<T>(admin: string, path: string, signal?: AbortSignal): Promise<T> {
  const value = await askIfKnown<T>(admin, path, signal);
  if (value === undefined) throw new ExitError(`the agent at ${admin} has no ${path}: is it older?`, 1);
  return value;
}

/** As askAdmin(); undefined where the agent has no such path, because it is an older one. */
export async function askIfKnown<T>(
  admin: string,
  path: string,
  signal?: AbortSignal,
): Promise<T | undefined> {
  if (!URL.canParse(path, admin) || !/^https?:/.test(admin))
    throw new ExitError(`--admin: ${admin} is no http URL`, 2);
  const response = await get(new URL(path, admin), admin, signal);
  if (response.status === 404) return undefined;
  const text = await response.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ExitError(`what answers at ${admin} is no agent's admin server`, 1);
  }
  if (response.headers.get('content-type')?.startsWith('application/problem+json')) {
    const { detail } = value as { detail?: unknown };
    throw new ExitError(`the agent at ${admin} answers: ${String(detail)}`, 1);
  }
  return value as T;
}

async function get(url: URL, admin: string, signal: AbortSignal | undefined): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    try {
      const late = AbortSignal.timeout(askTimeoutMs);
      const answer = await fetch(url, {
        // A connection that is kept would be the old process's.
        headers: { connection: 'close' },
        signal: signal === undefined ? late : AbortSignal.any([late, signal]),
      });
      return answer;
    } catch (error) {
      if (isAway(error) && attempt < attempts) {
        await pause(againMs, undefined, { ...(signal === undefined ? {} : { signal }) });
        continue;
      }
      const cause = error instanceof Error && error.cause !== undefined ? `: ${errorText(error.cause)}` : '';
      throw new ExitError(
        `no agent answers at ${admin} (${errorText(error)}${cause}); its admin.host and admin.port say where`,
        1,
      );
    }
  }
}

function isAway(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === 'string' && away.includes(cause.code);
}
