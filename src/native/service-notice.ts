// What an agent tells the service manager that started it, by the protocol of sd_notify(3). Called by the command line. Nobody is harmed where it
// cannot be told, so trouble comes as a word and not as an error.
import { errorText } from '../base/errors.js';
import { loadAddon } from './load.js';

/**
 * Sends `text`, such as `READY=1`, to the socket named by NOTIFY_SOCKET.
 * @returns why it could not be sent; undefined if it was, or if no manager listens
 */
export function notifyServiceManager(
  text: string,
  address = process.env['NOTIFY_SOCKET'],
): string | undefined {
  if (address === undefined || address === '') return undefined;
  try {
    (loadAddon()['sendServiceNotice'] as (address: string, text: string) => void)(address, text);
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}
