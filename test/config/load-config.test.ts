import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/config-error.js';
import { loadAgentConfig, parseAgentConfig } from '../../src/config/load-config.js';
import type { Machine } from '../../src/config/resolve-config.js';

const machine: Machine = {
  uid: 1234,
  defaultSocketPath: '/run/user/1234/ringside/agent.sock',
  addresses: [
    { address: '127.0.0.1', family: 'IPv4', internal: true },
    { address: 'fd00::1', family: 'IPv6', internal: false },
    { address: '10.1.2.3', family: 'IPv4', internal: false },
  ],
  groupId: (name) => (name === 'web' ? 33 : undefined),
};
const parse = (text: string) =>
  parseAgentConfig(text, { source: 'agent.yaml', directory: '/etc/ringside', machine });

function problemsOf(text: string): string[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ConfigError)
      return error.message
        .split('\n')
        .slice(1)
        .map((line) => line.trim());
    throw error;
  }
  return [];
}

describe('a valid configuration', () => {
  it.each(['', '# nothing\n', 'admin:\nlimits:\n', '{}'])('takes all defaults from %j', (text) => {
    const config = parse(text);
    expect(config).toEqual(parse(''));
    expect(config.socket).toEqual({
      path: machine.defaultSocketPath,
      mode: '0600',
      group: null,
      allowUids: [1234, 0],
    });
    expect(config.loopback.allowUids).toEqual([1234, 0]);
    expect(config.legacy).toEqual({ registration: 'loopback', networks: null });
    expect(config.registry).toEqual({
      type: 'embedded',
      directory: '/run/user/1234/ringside/registry',
      mode: '0700',
      leaseMs: 10_000,
      sweepMs: 2_000,
      url: null,
      password: null,
      sentinelPassword: null,
      caFile: null,
      prefix: 'ringside',
      timeoutMs: 1_000,
      cacheFile: '/run/user/1234/ringside/registry-cache.json',
      protectShare: 0.5,
      protectMs: 60_000,
    });
    expect(config.advertise).toEqual({ host: '10.1.2.3', port: null, zone: '', waitMs: 30_000 });
    expect(config.shm).toEqual({ enabled: true, ringBytes: 524_288 });
  });

  it('takes a URL of Redis for the whole registry', () => {
    const { registry } = parse('registry: redis://h:7000');
    expect(registry).toMatchObject({ type: 'redis', url: 'redis://h:7000', leaseMs: 10_000 });
  });

  it('keeps what the file says and fills in the rest', () => {
    const config = parse(`
app: shop
socket: {path: agent.sock, mode: "0660", group: web, allowUids: [7]}
inbound: {host: "::1", port: 0}
balancer: {default: round-robin, services: {orders: p2c, constructor: round-robin}}
filters:
  - {module: ./audit.js}
`);
    expect(config.app).toBe('shop');
    expect(config.socket).toEqual({
      path: '/etc/ringside/agent.sock',
      mode: '0660',
      group: 33,
      allowUids: [7],
    });
    expect(config.registry.directory).toBe('/etc/ringside/registry');
    expect(config.advertise.host).toBe('::1');
    expect(config.balancer.services).toEqual({ orders: 'p2c', constructor: 'round-robin' });
    expect(config.filters).toEqual([{ module: '/etc/ringside/audit.js', services: ['*'] }]);
    expect(config.timeouts.defaultMs).toBe(5_000);
  });

  it('names root once where the agent runs as root, and falls back to loopback without a network', () => {
    const config = parseAgentConfig('', { machine: { ...machine, uid: 0, addresses: [] } });
    expect(config.socket.allowUids).toEqual([0]);
    expect(config.advertise.host).toBe('127.0.0.1');
  });

  it('lets the same users in over TCP as on the socket, unless the file says otherwise', () => {
    expect(parse('socket: {allowUids: [7, 8]}').loopback.allowUids).toEqual([7, 8]);
    expect(parse('socket: {allowUids: [7]}\nloopback: {allowUids: [9]}').loopback.allowUids).toEqual([9]);
    expect(parse('loopback: {allowUids: any}').loopback.allowUids).toBe('any');
    expect(problemsOf('loopback: {allowUids: all}')).toEqual([
      'loopback.allowUids (line 1, column 23): found "all", allowed: a list of at most 64 user ids, or any',
    ]);
    expect(problemsOf('legacy: {networks: [10.0.0.0/40]}')).toEqual([
      'legacy.networks.0 (line 1, column 21): found "10.0.0.0/40", allowed: a list of at most 256 networks such as 10.0.0.0/8 or fd00::/8, or null',
    ]);
  });

  describe('has an address for others', () => {
    const v4 = (address: string, internal = false) => ({ address, family: 'IPv4', internal }) as const;
    const v6 = (address: string, internal = false) => ({ address, family: 'IPv6', internal }) as const;
    const inside = [
      v4('127.0.0.1', true),
      v6('::1', true),
      v4('169.254.7.7'),
      v6('fe80::1'),
      v6('::ffff:10.0.0.1'),
    ];
    const shared = 'registry: redis://r\n';
    const hostsOf = (text: string, addresses: Machine['addresses']) => {
      const { advertise, inbound, egressFallback } = parseAgentConfig(text, {
        machine: { ...machine, addresses },
      });
      expect(egressFallback.host).toBe(/inbound/.test(text) ? egressFallback.host : inbound.host);
      return [advertise.host, inbound.host];
    };

    it.each<[string, string, Machine['addresses'], [string, string]]>([
      [
        'the first of IPv4',
        '',
        [v6('2001:db8::1'), v4('10.0.0.1'), v4('192.0.2.1')],
        ['10.0.0.1', '0.0.0.0'],
      ],
      [
        'a global one before a unique-local one',
        '',
        [v6('fd00::1'), v6('2001:db8::1')],
        ['2001:db8::1', '::'],
      ],
      ['a unique-local one', '', [v6('fd00::1')], ['fd00::1', '::']],
      ['of a listener for both families', 'inbound: {host: "::"}', [v6('fd00::1')], ['fd00::1', '::']],
      ['the one it listens on', 'inbound: {host: "fd00::2"}', [], ['fd00::2', 'fd00::2']],
      [
        'the one it listens on, also where only this machine reaches it',
        'inbound: {host: "::1"}',
        [v4('10.0.0.1')],
        ['::1', '::1'],
      ],
      ['the one that is given', 'advertise: {host: 127.0.0.1}', [], ['127.0.0.1', '0.0.0.0']],
    ])('%s', (_what, text, addresses, hosts) => {
      expect(hostsOf(shared + text, [...inside, ...addresses])).toEqual(hosts);
    });

    it('which is none of the machine itself where others read the registry', () => {
      for (const [text, addresses, said] of [
        ['', inside, 'this machine has no address that others can reach'],
        [
          'inbound: {host: "0.0.0.0"}',
          [v6('fd00::1')],
          'this machine has IPv6 addresses only, which inbound.host, 0.0.0.0, does not take',
        ],
      ] as const)
        expect(() => hostsOf(shared + text, addresses)).toThrow(
          `advertise.host (line 1, column 1): found nothing, and ${said}`,
        );
      // The embedded registry is this machine's own.
      expect(hostsOf('', inside)).toEqual(['127.0.0.1', '0.0.0.0']);
      expect(hostsOf('', [v6('fd00::1')])).toEqual(['127.0.0.1', '0.0.0.0']);
    });
  });

  it('gives no two parses the same object', () => {
    parse('').balancer.services['x'] = 'p2c';
    parse('').filters.push({ module: 'x', services: [] });
    expect(parse('').balancer.services).toEqual({});
    expect(parse('').filters).toEqual([]);
  });
});

describe('a bad field', () => {
  it.each([
    [
      'inbound: {port: http}',
      'inbound.port (line 1, column 17): found "http", allowed: a port from 0 to 65535; 0 = any free one',
    ],
    [
      'inbound: {port: 65536}',
      'inbound.port (line 1, column 17): found 65536, allowed: a port from 0 to 65535; 0 = any free one',
    ],
    [
      'inbound: {host: localhost}',
      'inbound.host (line 1, column 17): found "localhost", allowed: an IPv4 or IPv6 address',
    ],
    [
      'loopback: {host: 10.0.0.1}',
      'loopback.host (line 1, column 18): found "10.0.0.1", allowed: an address of the loopback interface, 127.0.0.0/8 or ::1',
    ],
    [
      'advertise: {host: "0.0.0.0"}',
      'advertise.host (line 1, column 19): found "0.0.0.0", allowed: an IPv4 or IPv6 address that others can reach',
    ],
    [
      'socket: {mode: 0600}',
      'socket.mode (line 1, column 16): found 600, allowed: octal digits in quotes, such as "0600"',
    ],
    [
      'socket: {group: nobody-there}',
      'socket.group (line 1, column 17): found "nobody-there", which /etc/group does not list',
    ],
    [
      'log: {level: loud}',
      'log.level (line 1, column 14): found "loud", allowed: fatal, error, warn, info, debug, trace, silent',
    ],
    [
      'shm: {ringBytes: 300000}',
      'shm.ringBytes (line 1, column 18): found 300000, allowed: a power of two, 262144 to 67108864 bytes',
    ],
    [
      'timeouts: {defaultMs: 1.5}',
      'timeouts.defaultMs (line 1, column 23): found 1.5, allowed: whole milliseconds, 1 to 3600000',
    ],
    ['registry: {type: files}', 'registry.type (line 1, column 18): found "files", allowed: embedded, redis'],
    ['registry: {type: redis}', 'registry.url (line 1, column 11): found nothing, allowed with type redis'],
    ['registry: {url: "redis://h"}', 'registry.type (line 1, column 11): found "embedded" beside a url'],
    ['registry: http://me:secret@h', 'registry.url (line 1, column 11): found text that is not shown here'],
    [
      'balancer: {services: {a: fastest}}',
      'balancer.services.a (line 1, column 26): found "fastest", allowed: service names, each with one of p2c, round-robin; at most 4096',
    ],
    [
      'filters: [{services: ["*"]}]',
      'filters.0.module (line 1, column 11): found nothing, allowed: a list of at most 64 entries {module: path, services: [names, or "*" for all]}',
    ],
    ['admin: 15102', 'admin (line 1, column 8): found 15102, allowed: a section with enabled, host, port'],
    [
      'timeouts: {defaultMs: 70000}',
      'timeouts.defaultMs (line 1, column 23): found 70000, allowed: at most timeouts.maxMs, 60000',
    ],
    [
      'registry: {leaseMs: 1000}',
      'registry.sweepMs (line 1, column 11): found 2000, allowed: at most registry.leaseMs, 1000',
    ],
    [
      'admin: {port: 15101}',
      'admin.port (line 1, column 15): found 15101, which inbound.port takes already; allowed: a port of its own',
    ],
    ['- 1', 'found [1], allowed: a section with app, socket'],
  ])('%s', (text, expected) => {
    expect(problemsOf(text)).toEqual([expect.stringContaining(expected)]);
  });

  it('may share a port number with a listener that is switched off', () => {
    expect(problemsOf('admin: {port: 15100}\nloopback: {enabled: false}')).toEqual([]);
  });

  it('is listed together with all others, each on its line', () => {
    const problems = problemsOf('inbound:\n  port: -1\nlog:\n  level: 3\nsocket:\n  allowUids: [root]\n');
    expect(problems.map((line) => line.split(':')[0])).toEqual([
      'socket.allowUids.0 (line 6, column 15)',
      'inbound.port (line 2, column 9)',
      'log.level (line 4, column 10)',
    ]);
  });

  it('does not flood the terminal, and does not show a secret', () => {
    const many = Array.from({ length: 500 }, (_, i) => `x${i}: 1`).join('\n');
    expect(problemsOf(many)).toHaveLength(51);
    expect(problemsOf(many).at(-1)).toBe('and 450 more');
    expect(problemsOf(`app: ${'x'.repeat(5_000)}`)[0]?.length).toBeLessThan(250);
    expect(problemsOf('loopback: {token: hunter2}')).toEqual([
      'loopback.token (line 1, column 19): found text that is not shown here, allowed: 8 to 256 visible ASCII characters, or null',
    ]);
  });
});

describe('an unknown field', () => {
  it.each([
    ['inbuond: {port: 1}', 'inbuond (line 1, column 1): unknown field; did you mean "inbound"?'],
    ['inbound: {prot: 1}', 'inbound.prot (line 1, column 11): unknown field; did you mean "port"?'],
    [
      'registry: {leasems: 5000}',
      'registry.leasems (line 1, column 12): unknown field; did you mean "leaseMs"?',
    ],
    [
      'inbound: {certificate: 1}',
      'inbound.certificate (line 1, column 11): unknown field; fields here are host, port',
    ],
    ['__proto__: {port: 1}', '__proto__ (line 1, column 1): unknown field; fields here are app, socket'],
  ])('%s', (text, expected) => {
    expect(problemsOf(text)).toEqual([expect.stringContaining(expected)]);
  });
});

describe('YAML that is none', () => {
  it.each([
    ['inbound: {port: 1', 1, 'inbound: {port: 1'.length + 1],
    ['app: a\napp: b\n', 2, 1],
    ['app: "unclosed\n', 2, 1],
    ['a: 1\n---\nb: 2\n', 2, 1],
    ['app: !secret x', 1, 6],
  ])('%j is refused with its place', (text, line, column) => {
    try {
      parse(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as ConfigError).problems[0]).toMatchObject({ line, column });
    }
  });

  it('is refused where its aliases would explode', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `k${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`,
    );
    expect(problemsOf(`k0: &a0 [x]\n${levels.join('\n')}`)[0]).toContain('alias');
  });
});

describe('a file', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ringside-config-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  it('is read, with paths relative to itself', () => {
    const file = join(directory, 'agent.yaml');
    writeFileSync(file, 'filters: [{module: f.js}]');
    expect(loadAgentConfig(file).filters[0]?.module).toBe(join(directory, 'f.js'));
  });

  it('that is missing, a directory, too large or not text is refused in words', () => {
    const file = join(directory, 'agent.yaml');
    expect(() => loadAgentConfig(file)).toThrow(/agent\.yaml:\n {2}cannot be read: ENOENT/);
    expect(() => loadAgentConfig(directory)).toThrow('cannot be read: it is not a regular file');
    writeFileSync(file, Buffer.from([0x61, 0xff]));
    expect(() => loadAgentConfig(file)).toThrow('cannot be read');
    truncateSync(file, 100 * 1024 * 1024);
    expect(() => loadAgentConfig(file)).toThrow('larger than 1048576 bytes');
  });
});

describe('what is published for programs', () => {
  const entry = (fields: string): string =>
    `publish: [{service: s, protocol: legacy, address: "127.0.0.1:80"${fields}}]`;

  it('is filled in from the protocol and from what the agent says of itself', () => {
    const { publish } = parse(`advertise: {zone: east}\n${entry('')}`);
    expect(publish).toEqual([
      {
        ...{ service: 's', group: '', version: '', protocol: 'legacy', address: '127.0.0.1:80', weight: 100 },
        zone: 'east',
        healthCheck: { kind: 'legacy-ping', intervalMs: 1_000, timeoutMs: 1_000, failures: 3, successes: 1 },
      },
    ]);
    const [mesh] = parse('publish: [{service: s, protocol: mesh, address: /run/s.sock, zone: ""}]').publish;
    expect(mesh).toMatchObject({ zone: '', address: '/run/s.sock', healthCheck: { kind: 'mesh-ping' } });
  });

  it.each([
    ['publish: 1', 'publish (line 1, column 10): found 1, allowed: a list of at most 1024 entries'],
    ['publish: [x]', 'publish.0 (line 1, column 11): found "x", allowed: a section with service, group'],
    [
      'publish: [{}]',
      'publish.0.service (line 1, column 11): found nothing, allowed: text of 1 to 256 bytes',
    ],
    ['publish: [{}]', 'publish.0.protocol (line 1, column 11): found nothing, allowed: legacy, mesh'],
    [entry(', protocl: 1'), 'publish.0.protocl (line 1, column 67): unknown field; did you mean "protocol"?'],
    [entry(', weight: -1'), 'publish.0.weight (line 1, column 75): found -1, allowed: a whole number from 0'],
    [
      entry(', healthCheck: {kind: ping}'),
      'publish.0.healthCheck.kind (line 1, column 87): found "ping", allowed: legacy-ping, mesh-ping, tcp',
    ],
    [
      entry(', healthCheck: {kind: mesh-ping}'),
      'publish.0.healthCheck.kind (line 1, column 87): found "mesh-ping", allowed with protocol legacy: legacy-ping, tcp',
    ],
    [
      entry(', healthCheck: {every: 1}'),
      'publish.0.healthCheck.every (line 1, column 81): unknown field; fields',
    ],
    [
      `inbound: {port: 80}\n${entry('')}`,
      'publish.0.address (line 2, column 51): found "127.0.0.1:80", where this agent listens itself',
    ],
    [
      'publish:\n- &a {service: s, protocol: mesh, address: "[::1]:1"}\n- *a',
      'publish.1 (line 3, column 3): found the service, group and address of publish.0 again',
    ],
    ...[
      'localhost:80',
      '127.0.0.1',
      '127.0.0.1:0',
      '::1:80',
      '[127.0.0.1]:80',
      `/${'x'.repeat(107)}`,
      'run/x',
    ].map((address): [string, string] => [
      `publish: [{service: s, protocol: mesh, address: "${address}"}]`,
      'publish.0.address (line 1, column 49)',
    ]),
    ...['ringside.agent', '/service/lookup', '/service/moa-admin', ''].map((service): [string, string] => [
      `publish: [{service: "${service}", protocol: mesh, address: "127.0.0.1:1"}]`,
      'publish.0.service (line 1, column 21)',
    ]),
  ])('%s', (text, expected) => {
    expect(problemsOf(text)).toContainEqual(expect.stringContaining(expected));
  });
});

describe('the egress fallback', () => {
  const program = 'publish: [{service: s, protocol: mesh, address: "127.0.0.1:1"}]';
  it.each([
    [
      'egressFallback: {enabled: true}',
      'loopback.token (line 1, column 1): found nothing, allowed with egressFallback',
    ],
    [
      `loopback: {token: 12345678a}\negressFallback: {enabled: true}\n${program}`,
      'egressFallback.enabled (line 2, column 27): found true beside programs under publish',
    ],
    [
      'loopback: {token: 12345678a}\negressFallback: {enabled: true, port: 15101}',
      'egressFallback.port (line 2, column 39): found 15101, which inbound.port takes already',
    ],
  ])('%s', (text, expected) => {
    expect(problemsOf(text)).toEqual([expect.stringContaining(expected)]);
  });

  it('beside programs has to be forced', () => {
    const text = `loopback: {token: 12345678a}\negressFallback: {enabled: true, force: true}\n${program}`;
    expect(parse(text).egressFallback).toMatchObject({ enabled: true, force: true, port: 15_103 });
  });
});
