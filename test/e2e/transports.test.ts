// Every way between an app and its agent, on both sides of a call: bodies intact, what goes with them arrives, failures are typed.
// One agent on each side, one server and one client per transport, all real processes.
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import { transports } from '../support/app-process.js';
import type { AppProcess, TestTransport } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';

const maxBodyBytes = 2 * 1024 * 1024;
const mesh = new Mesh();
let near: AgentProcess;
let far: AgentProcess;
const clients = new Map<TestTransport, AppProcess>();
const servers = new Map<TestTransport, AppProcess>();

beforeAll(async () => {
  [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
  for (const transport of transports) {
    const [server, client] = await Promise.all([
      mesh.server(
        `server-${transport}`,
        far,
        { service: `over-${transport}`, group: 'blue', maxBodyBytes },
        transport,
      ),
      mesh.client(`client-${transport}`, near, transport, { maxBodyBytes }),
    ]);
    servers.set(transport, server);
    clients.set(transport, client);
    await mesh.reachable(client, `over-${transport}`);
  }
});
afterAll(() => mesh.close());

const client = (transport: TestTransport): AppProcess => clients.get(transport) as AppProcess;
const server = (transport: TestTransport): AppProcess => servers.get(transport) as AppProcess;
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.each(transports)('a client over %s', (from) => {
  it('uses the transport that it should, and the agent sees the same', async () => {
    const expected = from === 'no-addon' ? 'unix' : from;
    expect(await client(from).transport()).toBe(expected);
    const link = (await near.links()).find(({ app }) => app === `client-${from}`);
    expect(link).toMatchObject({ kind: expected, role: 'app', state: 'open' });
  });

  it.each(transports)('calls a server over %s: bodies of all sizes come back intact', async (to) => {
    for (const bytes of [0, 1, 1_024, 60 * 1_024, 65_536]) {
      const body = randomBytes(bytes);
      const reply = await client(from).call(`over-${to}`, 'echo', body);
      expect(reply.body.length).toBe(bytes);
      expect(digest(reply.body)).toBe(digest(body));
    }
  });
});

describe.each([
  ['shm', 'tcp'],
  ['tcp', 'shm'],
  ['unix', 'no-addon'],
  ['no-addon', 'unix'],
] as const)('from %s to %s', (from, to) => {
  const service = `over-${to}`;

  it('group, version, attachments, hash key, trace and deadline arrive, and attachments come back', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { body, attachments } = await client(from).call(service, 'info', 'x', {
      group: 'blue',
      hashKey: 'user-7',
      attachments: { tenant: 'zürich', empty: '' },
      traceparent,
      tracestate: 'vendor=1',
      timeoutMs: 4_321,
    });
    const seen = JSON.parse(body.toString()) as Record<string, unknown>;
    expect(seen).toMatchObject({
      service,
      method: 'info',
      group: 'blue',
      sourceApp: `client-${from}`,
      hashKey: 'user-7',
      attachments: { tenant: 'zürich', empty: '' },
      traceparent,
      tracestate: 'vendor=1',
      oneWay: false,
      attempt: 0,
    });
    expect(seen['timeoutMs']).toBeGreaterThan(1_000);
    expect(seen['timeoutMs']).toBeLessThanOrEqual(4_322);
    expect(attachments).toEqual({ 'served-by': `server-${to}` });
  });

  it('a one-way request arrives once and is answered by nobody', async () => {
    const mark = `note ${from} ${to}`;
    await client(from).send(service, 'note', mark, { attachments: { kind: 'audit' } });
    const note = await server(to).event('note', { body: mark });
    expect(note).toMatchObject({ oneWay: true, attachments: { kind: 'audit' } });
    // A call behind it on the same links proves that nothing more is on its way.
    await client(from).call(service, 'echo', '');
    expect(server(to).events.filter(({ body }) => body === mark)).toHaveLength(1);
  });

  it('what a handler throws reaches the caller with its status and text', async () => {
    await expect(client(from).call(service, 'fail-mesh')).rejects.toMatchObject({
      status: 'NOT_FOUND',
      message: 'no such thing: zürich',
      mayHaveRun: true,
    });
    await expect(client(from).call(service, 'fail-error')).rejects.toMatchObject({
      status: 'UNKNOWN',
      message: 'boom',
      mayHaveRun: true,
    });
  });

  it('an unknown method, service or group is refused with proof that nothing ran', async () => {
    await expect(client(from).call(service, 'unheard-of')).rejects.toMatchObject({
      status: 'UNIMPLEMENTED',
      mayHaveRun: false,
    });
    await expect(client(from).call('nobody-serves-this', 'echo')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
      retryable: true,
    });
    await expect(client(from).call(service, 'echo', '', { group: 'green' })).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
  });

  it('a handler that never answers ends at the deadline and is told so', async () => {
    const body = `never ${from} ${to}`;
    await expect(client(from).call(service, 'never', body, { timeoutMs: 150 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
      mayHaveRun: true,
    });
    await server(to).event('aborted', { body });
    await Promise.all([near.quiet(), far.quiet()]);
  });

  it('aborting a call aborts the handler', async () => {
    const body = `abort ${from} ${to}`;
    const call = client(from).call(service, 'never', body, { timeoutMs: 30_000 }, { abortKey: body });
    const outcome = expect(call).rejects.toMatchObject({ status: 'CANCELLED', mayHaveRun: true });
    await server(to).event('started', { body });
    await client(from).abort(body);
    await outcome;
    expect(await server(to).event('aborted', { body })).toMatchObject({ reason: 'CANCELLED' });
    await Promise.all([near.quiet(), far.quiet()]);
  });

  it('bodies that do not fit a frame travel in pieces, both ways, many at once', async () => {
    const bodies = [65_537, 300_000, maxBodyBytes].map((bytes) => randomBytes(bytes));
    const replies = await Promise.all(bodies.map((body) => client(from).call(service, 'echo', body)));
    expect(replies.map(({ body }) => digest(body))).toEqual(bodies.map(digest));
    await Promise.all([near.quiet(), far.quiet()]);
  });

  it('a body over the limit is refused with proof, an answer over it is not taken', async () => {
    await expect(client(from).call(service, 'echo', Buffer.alloc(maxBodyBytes + 1))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      mayHaveRun: false,
    });
    await expect(client(from).call(service, 'answer-of', String(maxBodyBytes + 1))).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      mayHaveRun: true,
    });
    expect((await client(from).call(service, 'echo', 'still well')).body.toString()).toBe('still well');
    await Promise.all([near.quiet(), far.quiet()]);
  });

  it('a client that is killed in the middle of a call frees everything behind it', async () => {
    const body = `killed ${from} ${to}`;
    const doomed = await mesh.client(`doomed-${from}`, near, from);
    const lost = expect(doomed.call(service, 'never', body, { timeoutMs: 30_000 })).rejects.toThrow();
    await server(to).event('started', { body });
    await doomed.process.end('SIGKILL');
    await lost;
    expect(await server(to).event('aborted', { body })).toMatchObject({ reason: 'CANCELLED' });
    await Promise.all([near.quiet(), far.quiet()]);
  });
});

describe('several hops', () => {
  it('a call made inside a handler inherits deadline and trace, through two more hops', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const { body } = await client('shm').call('over-shm', 'relay', 'x', {
      attachments: { way: 'over-tcp,over-unix' },
      timeoutMs: 3_000,
      traceparent,
      tracestate: 'a=b',
    });
    const seen = JSON.parse(body.toString()) as Record<string, unknown>;
    // The handlers on the way asked for 60 s; what is left of the first caller's 3 s is what counts.
    expect(seen).toMatchObject({
      service: 'over-unix',
      sourceApp: 'server-tcp',
      traceparent,
      tracestate: 'a=b',
    });
    expect(seen['timeoutMs']).toBeLessThanOrEqual(3_001);
    expect(seen['timeoutMs']).toBeGreaterThan(0);
  });
});
