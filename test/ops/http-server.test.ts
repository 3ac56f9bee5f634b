import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/ops/api.js';
import type { OpsStatus, Progress, UpgradeRequest } from '../../src/ops/api.js';
import { buildOpsServer } from '../../src/ops/http-server.js';
import { JobRefused } from '../../src/ops/jobs.js';
import { OpsClient } from '../../src/ops/ops-client.js';
import { ProgressLog } from '../../src/ops/progress-log.js';

const token = 'a-token-of-the-test';
const good = { version: '1.2.3', source: '/srv/x.tar.gz', sha256: 'AB'.repeat(32) };
const progressOf = (step: Progress['step'], job = 'job'): Progress => ({
  job,
  kind: 'upgrade',
  version: '1.2.3',
  step,
  at: 'now',
});

function fixture() {
  const asked: (UpgradeRequest | 'rollback')[] = [];
  const progress = new ProgressLog();
  let last: Progress | null = null;
  const status = (): OpsStatus => ({
    ...{ current: BUILT_IN, previous: null, last, job: last === null ? progressOf('starting') : null },
    agent: { state: 'running', pid: 1, version: BUILT_IN, crashes: 0, admin: null },
  });
  const ops = {
    upgrade: (request: UpgradeRequest) => (asked.push(request), 'job'),
    rollback: (): string => {
      throw new JobRefused(409, 'there is no version before');
    },
    adopt: () => 'job',
    status,
    versions: () => [],
    progress,
  };
  return { asked, progress, ops, end: (outcome: Progress) => (last = outcome) };
}

describe('a request', () => {
  it('for an upgrade is checked field by field', async () => {
    const { ops, asked } = fixture();
    const app = buildOpsServer(ops, null, () => undefined);
    const post = (payload: object) => app.inject({ method: 'POST', url: '/v1/upgrade', payload });
    const accepted = await post(good);
    expect(accepted.statusCode).toBe(202);
    expect(accepted.headers.location).toBe('/v1/status');
    expect(asked).toEqual([{ ...good, sha256: 'ab'.repeat(32) }]);
    for (const [changes, said] of [
      [{ version: '../x' }, 'version: allowed'],
      [{ version: '..' }, 'version: allowed'],
      [{ version: 'a/b' }, 'version: allowed'],
      [{ version: '.hidden' }, 'version: allowed'],
      [{ version: 'x.partial' }, 'version: allowed: no ending'],
      [{ version: BUILT_IN }, 'version: allowed: another name'],
      [{ source: 'relative.tar.gz' }, 'source: allowed'],
      [{ source: 'ftp://x/y' }, 'source: allowed'],
      [{ sha256: 'abc' }, 'sha256: allowed'],
      [{ signature: 'abc' }, 'signature: allowed'],
      [{ more: 1 }, 'more'],
    ] as const) {
      const refused = await post({ ...good, ...changes });
      expect(refused.statusCode).toBe(400);
      expect(refused.headers['content-type']).toContain('application/problem+json');
      expect(refused.json<{ detail: string }>().detail).toContain(said);
    }
    expect(asked).toHaveLength(1);
  });

  it('that cannot be fulfilled is a problem with its status', async () => {
    const app = buildOpsServer(fixture().ops, null, () => undefined);
    const answer = await app.inject({ method: 'POST', url: '/v1/rollback' });
    expect(answer.json()).toMatchObject({ status: 409, detail: 'there is no version before' });
    expect((await app.inject('/v1/nothing')).statusCode).toBe(404);
    expect((await app.inject({ url: '/v1/status', headers: { host: 'evil.example' } })).statusCode).toBe(421);
    const large = {
      method: 'POST',
      url: '/v1/upgrade',
      payload: { ...good, source: `/${'x'.repeat(20_000)}` },
    } as const;
    expect((await app.inject(large)).statusCode).toBe(413);
  });

  it('over TCP shows the token', async () => {
    const app = buildOpsServer(fixture().ops, token, () => undefined);
    const ask = (authorization?: string) =>
      app.inject({
        url: '/v1/status',
        ...(authorization === undefined ? {} : { headers: { authorization } }),
      });
    for (const wrong of [
      undefined,
      '',
      'Bearer',
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      `Basic ${token}`,
    ])
      expect((await ask(wrong)).statusCode).toBe(401);
    expect((await ask(`Bearer ${token}`)).statusCode).toBe(200);
    expect((await ask(`bearer ${token}`)).statusCode).toBe(200);
  });
});

describe('the progress', () => {
  it('begins with the steps so far, and a client follows it to the outcome', async () => {
    const { ops, progress, end } = fixture();
    progress.tell(progressOf('done', 'an earlier job'));
    progress.tell(progressOf('downloading'));
    progress.tell({ ...progressOf('downloading'), bytes: 7, totalBytes: 9 });
    const app = buildOpsServer(ops, token, () => undefined);
    await app.listen({ host: '127.0.0.1', port: 0 });
    const client = new OpsClient({
      url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`,
      token,
    });
    try {
      const seen: Progress[] = [];
      const outcome = await client.follow(
        'job',
        (one) => {
          seen.push(one);
          if (one.step === 'downloading') progress.tell(progressOf('verifying'));
          if (one.step === 'verifying') progress.tell(progressOf('done'));
        },
        60_000,
      );
      expect(outcome.step).toBe('done');
      expect(seen.map(({ step, bytes }) => [step, bytes])).toEqual([
        ['downloading', 7],
        ['verifying', undefined],
        ['done', undefined],
      ]);

      // One that ended before anybody listened.
      end(progressOf('failed'));
      expect(await client.follow('job', () => undefined, 60_000)).toMatchObject({ step: 'failed' });
      await expect(client.follow('another job', () => undefined, 60_000)).rejects.toThrow(
        'does not know this job',
      );
    } finally {
      await client.close();
      await app.close();
    }
  });
});
