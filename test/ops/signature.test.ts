// A signature is for one archive as one version, and the commands of docs/ops.md make the same one.
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isSigned, manifestOf, signatureOf } from '../../src/ops/signature.js';
import { sha256Of } from '../support/version-archive.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const directory = mkdtempSync(join(tmpdir(), 'ringside-signature-'));
afterAll(() => rmSync(directory, { recursive: true }));

it('a signature is for one archive as one version', () => {
  const [one, other] = ['ab'.repeat(32), 'cd'.repeat(32)];
  const signature = signatureOf('1.4.0', one, privateKey);
  expect(isSigned('1.4.0', one, signature, publicKey)).toBe(true);
  expect(isSigned('1.4.0', one.toUpperCase(), signature, publicKey)).toBe(true);
  expect(isSigned('1.5.0', one, signature, publicKey)).toBe(false);
  expect(isSigned('1.4.0', other, signature, publicKey)).toBe(false);
  expect(isSigned('1.4.0', one, signature, generateKeyPairSync('ed25519').publicKey)).toBe(false);
  expect(manifestOf('1.4.0', one)).toBe(`ringside archive 1\nversion 1.4.0\nsha256 ${one}\n`);
});

describe('docs/ops.md', () => {
  const text = readFileSync(new URL('../../docs/ops.md', import.meta.url), 'utf8');
  const archive = join(directory, 'ringside-1.4.0.tar.gz');
  writeFileSync(archive, 'an archive');
  writeFileSync(join(directory, 'private.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));

  const has = spawnSync('openssl', ['version']).status === 0;
  if (!has) console.warn('SKIPPED: there is no openssl to sign with');
  it.each(has ? ['openssl', 'node'] : ['node'])('signs with %s', (program) => {
    const [, commands = ''] =
      new RegExp(`<!-- sign with ${program} -->\n\`\`\`sh\n([^]*?)\`\`\``).exec(text) ?? [];
    expect(commands).not.toBe('');
    const { stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', commands], {
      cwd: directory,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(stdout.trim()).toBe(signatureOf('1.4.0', sha256Of(archive), privateKey));
  });
});
