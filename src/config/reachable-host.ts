/**
 * Which address an agent tells others when nobody says: one that they can reach. A registry for many machines is never told a loopback address that
 * the agent chose by itself, since whoever reads it would call itself. Called by resolve-config.ts.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { isLoopback, isUnspecified } from './field.js';
import type { ConfigFile } from './schema.js';

/** An address of an interface that is up. */
export interface MachineAddress {
  address: string;
  family: 'IPv4' | 'IPv6';
  internal: boolean;
}

/** Why there is no address that others can reach; a network that comes up may change that. */
export interface NoAddress {
  noAddress: string;
}

/** Flags of an IPv6 address in /proc/net/if_inet6, linux/if_addr.h: temporary, deprecated; not yet or not usable. */
const PASSING = 0x01 | 0x20;
const UNUSABLE = 0x08 | 0x40;

/** In the kernel's order, but for IPv6 addresses that will go, which are last, and such as cannot be used, which are left out. */
export function addressesOfMachine(): MachineAddress[] {
  const flags = inet6Flags();
  const has = (address: string, mask: number): boolean => ((flags.get(address) ?? 0) & mask) !== 0;
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address, family, internal }) => ({ address, family, internal }))
    .filter(({ address }) => !has(address, UNUSABLE))
    .sort((a, b) => Number(has(a.address, PASSING)) - Number(has(b.address, PASSING)));
}

/** The address for others, or why there is none. */
export function reachableHost(
  { inbound, registry }: Pick<ConfigFile, 'inbound' | 'registry'>,
  addresses: readonly MachineAddress[],
): string | NoAddress {
  const isShared = registry.type === 'redis';
  const listens = inbound.host;
  // One address, loopback too: then whoever wrote it wants this machine only.
  if (listens !== null && !isUnspecified(listens)) return listens;
  const outside = addresses.filter(isOutside);
  const v6 = outside.filter(({ family }) => family === 'IPv6');
  const found = outside.find(({ family }) => family === 'IPv4') ?? v6.find(isGlobal) ?? v6[0];
  if (!isShared) return found?.family === 'IPv4' ? found.address : '127.0.0.1';
  if (found !== undefined && (found.family === 'IPv4' || listens !== '0.0.0.0')) return found.address;
  const noAddress =
    found === undefined
      ? 'found nothing, and this machine has no address that others can reach'
      : `found nothing, and this machine has IPv6 addresses only, which inbound.host, ${listens}, does not take`;
  return { noAddress };
}

/**
 * All addresses, in the family that the machine has. The IPv6 one takes both, but the kernel may have none, and a takeover does not change where an
 * agent listens; so it is chosen only where the other one would leave the agent out of reach.
 */
export function listensEverywhere(
  { registry }: Pick<ConfigFile, 'registry'>,
  addresses: readonly MachineAddress[],
): string {
  const outside = addresses.filter(isOutside);
  const isV6Only = outside.length > 0 && outside.every(({ family }) => family === 'IPv6');
  return registry.type === 'redis' && isV6Only ? '::' : '0.0.0.0';
}

/** Neither loopback nor of one link only; private and unique-local ones may be reached by others. */
function isOutside({ address, family, internal }: MachineAddress): boolean {
  if (internal || isLoopback(address) || isUnspecified(address)) return false;
  return family === 'IPv4' ? !address.startsWith('169.254.') : !/^fe[89ab]|^::ffff:|^ff/i.test(address);
}

function isGlobal({ address }: MachineAddress): boolean {
  return !/^f[cd]/i.test(address);
}

/** By address as Node writes it. */
function inet6Flags(): Map<string, number> {
  let text: string;
  try {
    text = readFileSync('/proc/net/if_inet6', 'utf8');
  } catch {
    return new Map(); // A kernel without IPv6.
  }
  return new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [digits = '', , , , flags = ''] = line.trim().split(/ +/);
        const groups = digits.match(/.{4}/g)?.join(':') ?? '';
        return [new URL(`http://[${groups}]`).hostname.slice(1, -1), Number.parseInt(flags, 16)] as const;
      }),
  );
}
