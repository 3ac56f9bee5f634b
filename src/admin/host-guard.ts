/**
 * Decides whether a request to the admin server may come from where its Host header says. A page on the internet can
 * make a browser talk to this port under a name of its own that resolves to 127.0.0.1 (DNS rebinding); such a request
 * carries that name. Names other than localhost are therefore refused, addresses are not: nobody can rebind those.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** @param host the Host header; undefined only in HTTP/1.0, which no browser speaks */
export function isAllowedHost(host: string | undefined): boolean {
  if (host === undefined) return true;
  const bracketed = /^\[([^[\]%]{2,45})\](?::\d{1,5})?$/.exec(host);
  if (bracketed) return isIPv6(bracketed[1] ?? '');
  const plain = /^([^:]{1,253})(?::\d{1,5})?$/.exec(host);
  const name = plain?.[1] ?? '';
  return name.toLowerCase() === 'localhost' || isIPv4(name);
}
