import { describe, expect, it } from 'vitest';
import { whyNotRegistrable } from '../../src/agent/registrable.js';
import type { RegistrableIn } from '../../src/agent/registrable.js';
import { isNetwork } from '../../src/config/field.js';

const may = (host: string, where: Partial<RegistrableIn> = {}): boolean =>
  whyNotRegistrable(host, {
    ...{ caller: 'here', networks: null, ownAddresses: ['192.0.2.1', '2001:db8::1'] },
    ...where,
  }) === undefined;

describe('an address that an old server may be registered under', () => {
  it.each([
    ['127.0.0.1', true, false],
    ['::1', true, false],
    ['::ffff:127.0.0.1', true, false],
    ['192.0.2.1', true, true],
    ['::ffff:192.0.2.1', true, true],
    ['2001:db8::1', true, true],
    ['10.1.2.3', false, true],
    ['172.31.0.1', false, true],
    ['172.32.0.1', false, false],
    ['192.168.3.4', false, true],
    ['fd12::1', false, true],
    ['192.0.2.2', false, false],
    ['2001:db8::2', false, false],
    ['64:ff9b::a9fe:a9fe', false, false],
  ])('%s: from here %s, from elsewhere %s', (host, fromHere, fromElsewhere) => {
    expect(may(host)).toBe(fromHere);
    expect(may(host, { caller: 'elsewhere' })).toBe(fromElsewhere);
    expect(may(host, { caller: 'not-asked' })).toBe(fromHere || fromElsewhere);
  });

  it.each([
    ...['169.254.169.254', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', 'fe80::1', 'febf::1'],
    ...['0.0.0.0', '::', '255.255.255.255', '224.0.0.1', 'ff02::1', 'fd00:ec2::254', '100.100.100.200'],
  ])('%s is never one, whatever is configured and whoever has it', (host) => {
    for (const caller of ['here', 'elsewhere', 'not-asked'] as const)
      expect(may(host, { caller, networks: ['0.0.0.0/0', '::/0'], ownAddresses: [host] })).toBe(false);
  });

  it('is one of configured networks, for everybody, and they replace the private ones', () => {
    for (const caller of ['here', 'elsewhere'] as const) {
      expect(may('198.51.100.7', { caller, networks: ['198.51.100.0/24', 'fd00::/8'] })).toBe(true);
      expect(may('fd00::7', { caller, networks: ['198.51.100.0/24', 'fd00::/8'] })).toBe(true);
      expect(may('10.1.2.3', { caller, networks: ['198.51.100.0/24'] })).toBe(false);
      expect(may('10.1.2.3', { caller, networks: [] })).toBe(false);
    }
    expect(may('127.0.0.1', { networks: [] })).toBe(true);
  });

  it('is refused with a word on what to do', () => {
    const where = { networks: null, ownAddresses: [] };
    expect(whyNotRegistrable('10.1.2.3', { caller: 'here', ...where })).toContain('legacy.networks');
    expect(whyNotRegistrable('8.8.8.8', { caller: 'elsewhere', ...where })).toContain('legacy.networks');
  });
});

describe('a network', () => {
  it.each(['10.0.0.0/8', '0.0.0.0/0', '192.0.2.7', 'fd00::/8', '::/0', '2001:db8::1/128'])('%s', (text) =>
    expect(isNetwork(text)).toBe(true),
  );
  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    'fd00::/129',
    'fe80::1%eth0/64',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'host',
  ])('%j is none', (text) => expect(isNetwork(text)).toBe(false));
});
