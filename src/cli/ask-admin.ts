// Asks an agent's admin server; used by the commands that look at a running agent.
import { errorText } from '../base/errors.js';
import { ExitError } from './exit-error.js';

const askTimeoutMs = 5_000;

/**
 * The JSON that the admin server at `admin` answers on `path`; also with status 503, which carries what is not ready.
 * @throws ExitError saying where nobody answered
 */
export async function askAdmin<T>(admin: string, path: string): Promise<T> {
  let response: Response;
  try {
    response = await fetch(new URL(path, admin), { signal: AbortSignal.timeout(askTimeoutMs) });
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? `: ${errorText(error.cause)}` : '';
    throw new ExitError(
      `no agent answers at ${admin} (${errorText(error)}${cause}); its admin.host and admin.port say where`,
      1,
    );
  }
  return (await response.json()) as T;
}
