import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describeConfig } from '../../src/config/describe-config.js';
import { didYouMean } from '../../src/config/did-you-mean.js';
import { diffConfig, followed } from '../../src/config/diff-config.js';
import { parseAgentConfig } from '../../src/config/load-config.js';
import { thisMachine } from '../../src/config/resolve-config.js';
import { REDACTED, redactConfig } from '../../src/config/redact-config.js';
import { allFields, valueAt } from '../../src/config/schema-walk.js';
import { configSchema } from '../../src/config/schema.js';

describe('docs/configuration.md', () => {
  const file = new URL('../../docs/configuration.md', import.meta.url);
  const [begin, end] = [
    '<!-- fields begin: written from src/config/schema.ts -->\n',
    '\n<!-- fields end -->',
  ];
  const between = (text: string): [string, string, string] => {
    const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
    expect(from).toBeGreaterThanOrEqual(begin.length);
    expect(to).toBeGreaterThan(from - 1);
    return [text.slice(0, from), text.slice(from, to), text.slice(to)];
  };

  it('lists every field as the schema has it (UPDATE_DOCS=1 writes it)', () => {
    const [before, table, after] = between(readFileSync(file, 'utf8'));
    if (process.env['UPDATE_DOCS']) writeFileSync(file, `${before}${describeConfig(configSchema)}${after}`);
    else expect(table).toBe(describeConfig(configSchema));
  });

  it('has examples that are valid', () => {
    // Some are for many machines; this one may have no network.
    const addresses = [{ address: '192.0.2.1', family: 'IPv4', internal: false }] as const;
    const machine = { ...thisMachine(), addresses };
    const text = readFileSync(file, 'utf8');
    const examples = [...text.matchAll(/```yaml\n([^`]*)```/g)].map((match) => match[1] ?? '');
    expect(examples.length).toBeGreaterThan(1);
    for (const example of examples) {
      expect(() => parseAgentConfig(example.replace(/^(\s*group:) \w+/m, '$1 0'), { machine })).not.toThrow();
    }
  });
});

describe('the schema', () => {
  it('has facts about every leaf, so that nothing goes undocumented', () => {
    const defaults = configSchema.parse({});
    const leaves: string[] = [];
    const visit = (value: unknown, path: string[]): void => {
      if (allFields(configSchema).some((field) => field.path.join('.') === path.join('.')))
        leaves.push(path.join('.'));
      else if (typeof value === 'object' && value !== null)
        for (const [key, child] of Object.entries(value)) visit(child, [...path, key]);
      else expect.fail(`${path.join('.')} is not described`);
    };
    visit(defaults, []);
    expect(leaves).toEqual(allFields(configSchema).map(({ path }) => path.join('.')));
    expect(leaves.length).toBeGreaterThan(40);
  });

  it('tells of every field what is meant and allowed', () => {
    for (const { path, facts } of allFields(configSchema)) {
      expect(facts.means, path.join('.')).toMatch(/[.]$/);
      expect(facts.allowed.length, path.join('.')).toBeGreaterThan(0);
      if (valueAt(configSchema.parse({}), path) === null && !facts.allowed.includes('null')) {
        expect(facts.defaultText, path.join('.')).toBeDefined();
      }
    }
  });
});

describe('the difference of two configurations', () => {
  it('tells what can be followed and what needs a new process', () => {
    const before = parseAgentConfig('');
    const after = parseAgentConfig(
      'log: {level: debug}\ntimeouts: {defaultMs: 7}\ninbound: {port: 9}\nlimits: {flows: 99}\nbalancer: {services: {a: p2c}}',
    );
    expect(diffConfig(before, after)).toEqual({
      live: ['log.level', 'timeouts.defaultMs', 'balancer.services'],
      restart: ['inbound.port', 'limits.flows'],
    });
  });

  it('leaves nothing to follow in what is in force afterwards, and what needs a new process as it was', () => {
    const before = parseAgentConfig('');
    const after = parseAgentConfig(
      'log: {level: debug}\ntimeouts: {defaultMs: 7, drainMs: 8, maxMs: 9, connectMs: 10}\nbalancer: {services: {a: p2c}}\n' +
        'filters: [{module: /f.mjs}]\npublish: [{service: s, protocol: legacy, address: "127.0.0.1:9"}]\nlimits: {flows: 99}',
    );
    const inForce = followed(before, after);
    expect(diffConfig(before, inForce)).toEqual({ live: diffConfig(before, after).live, restart: [] });
    expect(diffConfig(inForce, after)).toEqual({ live: [], restart: diffConfig(before, after).restart });
  });

  it('of equal ones is none', () => {
    expect(diffConfig(parseAgentConfig(''), parseAgentConfig('app: app'))).toEqual({ live: [], restart: [] });
  });

  it('names what was derived too: moving the socket moves the registry and the takeover socket beside it', () => {
    expect(
      diffConfig(parseAgentConfig(''), parseAgentConfig('socket: {path: /tmp/x/a.sock}')).restart,
    ).toEqual(['socket.path', 'registry.directory', 'registry.cacheFile', 'takeover.path']);
  });
});

describe('a configuration that is shown', () => {
  it('hides the token and nothing else, and leaves the original alone', () => {
    const config = parseAgentConfig('loopback: {token: hunter2-hunter2}');
    const shown = redactConfig(config);
    expect(shown).toEqual({ ...config, loopback: { ...config.loopback, token: REDACTED } });
    expect(config.loopback.token).toBe('hunter2-hunter2');
    expect(redactConfig(parseAgentConfig('')).loopback.token).toBe(null);
  });
});

describe('did you mean', () => {
  const known = ['port', 'host', 'enabled', 'leaseMs', 'keepaliveMs'];
  it.each([
    ['prot', 'port'],
    ['ports', 'port'],
    ['Port', 'port'],
    ['enabeld', 'enabled'],
    ['leasems', 'leaseMs'],
    ['keep_alive_ms', 'keepaliveMs'],
    ['x', undefined],
    ['certificate', undefined],
    ['', undefined],
    ['p'.repeat(10_000), undefined],
  ])('%s: %s', (word, meant) => {
    expect(didYouMean(word, known)).toBe(meant);
  });
});
