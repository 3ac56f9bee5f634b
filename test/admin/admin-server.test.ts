import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { buildAdminApp, startAdminServer } from '../../src/admin/admin-server.js';
import { isAllowedHost } from '../../src/admin/host-guard.js';
import { fakeAgent } from './fake-agent.js';

const get = (url: string, view = fakeAgent(), headers: Record<string, string> = {}) =>
  buildAdminApp(view).inject({ method: 'GET', url, headers: { host: 'localhost:15102', ...headers } });

describe('the admin server', () => {
  it('shows everything as JSON that people can read', async () => {
    const { paths } = (await get('/')).json<{ paths: string[] }>();
    expect(paths).toContain('/links');
    for (const path of paths) {
      const response = await get(path);
      expect(response.statusCode, path).toBe(200);
      expect(response.headers['cache-control']).toBe('no-store');
    }
    const links = await get('/links');
    expect(links.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(links.json()).toEqual(await fakeAgent().links());
    expect(links.body).toContain('\n    "id": "1.1"');
    expect((await get('/clusters')).json()).toEqual(await fakeAgent().clusters());
    expect((await get('/limits')).json()).toEqual(await fakeAgent().limits());
    const [flow] = (await get('/flows')).json<Record<string, unknown>[]>();
    expect(flow).toMatchObject({ service: 'orders', requests: 3 });
    expect(flow).not.toHaveProperty('sketch');
  });

  it('hides secrets', async () => {
    const response = await get('/config');
    expect(response.json()).toEqual({ app: 'shop', loopback: { token: '(redacted)', port: 15100 } });
  });

  it('says 503 with reasons while the agent is not ready, and lives on', async () => {
    const notReady = { ok: false, reasons: ['registry unreadable'], warnings: [] };
    const view = fakeAgent({ ready: () => Promise.resolve(notReady) });
    const ready = await get('/ready', view);
    expect(ready.statusCode).toBe(503);
    expect(ready.json()).toEqual(notReady);
    expect((await get('/live', view)).json()).toMatchObject({ ok: true });
  });

  it('answers what it cannot do with a problem', async () => {
    const missing = await get('/nothing');
    expect(missing.statusCode).toBe(404);
    expect(missing.headers['content-type']).toContain('application/problem+json');
    expect(missing.json()).toMatchObject({ title: 'Not Found', status: 404 });
    expect(missing.json<{ detail: string }>().detail).toContain('GET /nothing');
    const post = await buildAdminApp(fakeAgent()).inject({
      method: 'POST',
      url: '/links',
      headers: { host: 'localhost' },
    });
    expect(post.statusCode).toBe(404);

    const errors: Error[] = [];
    const broken = buildAdminApp(fakeAgent({ links: () => Promise.reject(new Error('engine gone')) }), {
      onError: (error) => errors.push(error),
    });
    const failed = await broken.inject({ url: '/links', headers: { host: 'localhost' } });
    expect(failed.statusCode).toBe(500);
    expect(failed.json()).toMatchObject({ detail: 'engine gone' });
    expect(errors.map((error) => error.message)).toEqual(['engine gone']);
  });

  it('does not wait for an agent that does not answer, and recovers with it', async () => {
    let stuck = true;
    const view = fakeAgent({ flows: () => (stuck ? new Promise(() => undefined) : Promise.resolve([])) });
    const app = buildAdminApp(view, { answerMs: 20 });
    for (const url of ['/flows', '/metrics']) {
      const response = await app.inject({ url, headers: { host: 'localhost' } });
      expect(response.statusCode).toBe(503);
      expect(response.json()).toMatchObject({ detail: 'the agent did not answer within 20 ms' });
    }
    stuck = false;
    expect((await app.inject({ url: '/metrics', headers: { host: 'localhost' } })).statusCode).toBe(200);
  });

  it('refuses a page that comes under a name of its own', async () => {
    const response = await get('/config', fakeAgent(), { host: 'evil.example:15102' });
    expect(response.statusCode).toBe(421);
    expect(response.body).not.toContain('shop');
  });
});

describe('a Host header', () => {
  it.each([
    'localhost',
    'LocalHost:1',
    '127.0.0.1',
    '127.0.0.1:15102',
    '10.1.2.3:80',
    '[::1]',
    '[::1]:15102',
    undefined,
  ])('%s is let in', (host) => {
    expect(isAllowedHost(host)).toBe(true);
  });
  it.each([
    '',
    'evil.example',
    'localhost.evil.example',
    'localhost:',
    'localhost:1:2',
    '127.0.0.1.evil.example',
    '127.0.0.1@evil',
    '[::1',
    '[::1]x',
    '[localhost]',
    '::1',
    '127.1',
    ' localhost',
    'x'.repeat(10_000),
  ])('%j is kept out', (host) => {
    expect(isAllowedHost(host)).toBe(false);
  });
});

describe('a listening admin server', () => {
  it('binds any free port, says which, and lets go of idle connections when it closes', async () => {
    const server = await startAdminServer(fakeAgent(), { host: '127.0.0.1', port: 0 });
    const response = await fetch(`http://127.0.0.1:${server.port}/live`);
    expect(await response.json()).toMatchObject({ ok: true });
    const idle = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    const ended = new Promise((resolve) => idle.once('close', resolve));
    idle.on('error', () => undefined);
    await server.close();
    await ended;
  });

  it.each([
    ['say nothing', ''],
    ['send half a request', 'GET /live HT'],
    ['send half a body', 'POST /live HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx'],
    ['do not read their answers', 'GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(3)],
  ])('answers beside more connections than it takes that %s', async (_what, bytes) => {
    const server = await startAdminServer(fakeAgent(), { host: '127.0.0.1', port: 0 });
    const hostile = Array.from({ length: 200 }, () => {
      const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
      socket.pause();
      socket.write(bytes);
      return socket;
    });
    await Promise.all(
      hostile.map(
        (socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve)),
      ),
    );
    const probe = { headers: { connection: 'close' }, signal: AbortSignal.timeout(5_000) };
    for (let i = 0; i < 5; i += 1) {
      const response = await fetch(`http://127.0.0.1:${server.port}/live`, probe);
      expect(await response.json()).toMatchObject({ ok: true });
    }
    for (const socket of hostile) socket.destroy();
    await server.close();
  });

  it('says why it cannot listen', async () => {
    const first = await startAdminServer(fakeAgent(), { host: '127.0.0.1', port: 0 });
    await expect(startAdminServer(fakeAgent(), { host: '127.0.0.1', port: first.port })).rejects.toThrow(
      'EADDRINUSE',
    );
    await first.close();
  });
});
