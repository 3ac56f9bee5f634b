// A certificate for this machine that no authority signed but itself, made anew by openssl for one test.
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Whether there is an openssl to make it with. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) console.warn('openssl is not installed: tests over TLS are SKIPPED');

/** Makes a certificate for 127.0.0.1 and its key in a directory; answers their PEM files. */
export function makeCertificate(directory: string): { certificate: string; key: string } {
  const certificate = join(directory, 'certificate.pem');
  const key = join(directory, 'key.pem');
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', ...kind, ...names, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  return { certificate, key };
}
