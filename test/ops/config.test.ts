import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeConfig } from '../../src/config/describe-config.js';
import { allFields } from '../../src/config/schema-walk.js';
import { opsConfigSchema, parseOpsConfig } from '../../src/ops/config.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-ops-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const parse = (text: string) => parseOpsConfig(text, 'ops.yaml', directory);

describe('docs/ops.md', () => {
  const file = new URL('../../docs/ops.md', import.meta.url);
  const [begin, end] = ['<!-- fields begin: written from src/ops/config.ts -->\n', '\n<!-- fields end -->'];

  it('lists every field as the schema has it (UPDATE_DOCS=1 writes it)', () => {
    const text = readFileSync(file, 'utf8');
    const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
    const table = describeConfig(opsConfigSchema);
    if (process.env['UPDATE_DOCS']) writeFileSync(file, `${text.slice(0, from)}${table}${text.slice(to)}`);
    else expect(text.slice(from, to)).toBe(table);
    for (const { path, facts } of allFields(opsConfigSchema))
      expect(facts.means, path.join('.')).toMatch(/[.)]$/);
  });

  it('has examples that are valid', () => {
    const examples = [...readFileSync(file, 'utf8').matchAll(/```yaml\n([^`]*)```/g)].map(
      ([, text = '']) => text,
    );
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(() => parse(example)).not.toThrow();
  });
});

describe('a valid configuration', () => {
  it('has absolute paths, and no port without a token', () => {
    expect(parse('directory: here\nagent: {config: agent.yaml}')).toMatchObject({
      directory: join(directory, 'here'),
      agent: { config: join(directory, 'agent.yaml'), command: null },
      http: { socket: join(directory, 'here', 'ops.sock'), tcp: null },
      versions: { directory: join(directory, 'here', 'versions'), keep: 3, publicKey: null },
    });
  });

  it('reads the token and the public key from files', () => {
    writeFileSync(join(directory, 'token'), '  0123456789abcdef\n');
    const { publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(join(directory, 'key.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    const config = parse(
      'http: {host: 127.0.0.1, port: 0, tokenFile: token}\nversions: {publicKey: key.pem}',
    );
    expect(config.http.tcp).toEqual({ host: '127.0.0.1', port: 0, token: '0123456789abcdef' });
    expect(config.versions.publicKey?.asymmetricKeyType).toBe('ed25519');
  });
});

describe('what is wrong is named by its path', () => {
  it.each([
    ['agent: {startMS: 5}', 'agent.startMS (line 1, column 9): unknown field; did you mean "startMs"?'],
    [
      'probation:\n  seconds: -1',
      'probation.seconds (line 2, column 12): found -1, allowed: seconds, 0 to 86400',
    ],
    ['http: {port: 1}', 'http.port (line 1, column 14): found without http.token'],
    ['http: {token: short}', 'http.token (line 1, column 15): found text that is not shown here'],
    [
      'http: {token: 0123456789abcdef, tokenFile: x}',
      'http.tokenFile (line 1, column 44): found beside http.token',
    ],
    ['http: {tokenFile: nowhere}', 'http.tokenFile (line 1, column 19): nowhere cannot be used: ENOENT'],
    ['versions: {publicKey: ops.yaml}', 'versions.publicKey (line 1, column 23): ops.yaml cannot be used'],
    ['agent: {backoffBaseMs: 9000, backoffMaxMs: 10}', 'agent.backoffBaseMs (line 1, column 24): found 9000'],
    ['agent: {admin: "ftp://x/"}', 'agent.admin (line 1, column 16)'],
    ['agent: {command: []}', 'agent.command (line 1, column 18)'],
  ])('%s', (text, said) => {
    expect(() => parse(text)).toThrow(said);
  });

  it('refuses a key of another kind', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(join(directory, 'ec.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    expect(() => parse('versions: {publicKey: ec.pem}')).toThrow('it is no ed25519 public key');
  });
});
