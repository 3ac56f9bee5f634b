// Under which addresses an old server may be registered, by where the caller is: requests will go there, so that whoever registers chooses what this agent
// and all others connect to. Addresses where machines find the secrets of their cloud never count. Used by legacy-directory.ts.
import { BlockList, isIPv4 } from 'node:net';

/** What is asked of an address. */
export interface RegistrableIn {
  /** Where the caller is; `not-asked`: on a link from a process that did not ask. */
  readonly caller: 'here' | 'elsewhere' | 'not-asked';
  /** `legacy.networks`; null: private ones, for callers elsewhere. */
  readonly networks: readonly string[] | null;
  /** Addresses of this machine, beside those of its loopback interface. */
  readonly ownAddresses: readonly string[];
}

/** Link-local and metadata addresses, and those that are nobody's. */
const never = listOf([
  ...['0.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '100.100.100.200/32'],
  ...['::/128', 'fe80::/10', 'ff00::/8', 'fd00:ec2::254/128', 'fd20:ce::254/128'],
]);
const loopback = listOf(['127.0.0.0/8', '::1/128']);
const privateNetworks = listOf(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']);

/** Why a server may not be registered at an IP address; undefined if it may. */
export function whyNotRegistrable(host: string, where: RegistrableIn): string | undefined {
  const { caller, networks, ownAddresses } = where;
  if (holds(never, host)) return `${host} is a link-local or metadata address, or nobody's`;
  if (networks !== null && holds(listOf(networks), host)) return undefined;
  const isLoopback = holds(loopback, host);
  const isOwn =
    !isLoopback &&
    holds(listOf(ownAddresses.map((address) => `${address}/${isIPv4(address) ? 32 : 128}`)), host);
  if (caller !== 'elsewhere' && (isOwn || isLoopback)) return undefined;
  if (caller !== 'here' && (isOwn || (networks === null && holds(privateNetworks, host)))) return undefined;
  return caller === 'here'
    ? `${host} is none of this machine's addresses, and who calls from this machine registers no others: add its network to legacy.networks`
    : `${host} lies outside the networks whose servers may be registered: add its network to legacy.networks`;
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    list.addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family);
  }
  return list;
}

/** An IPv4 address within IPv6 counts as IPv4. */
function holds(list: BlockList, host: string): boolean {
  const isFour = isIPv4(host);
  return list.check(isFour ? host : host.replace(/%.*$/, ''), isFour ? 'ipv4' : 'ipv6');
}
