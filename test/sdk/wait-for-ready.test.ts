// Calls with `waitForReady`: they wait for a link and for an instance, at most until their deadline, and never run twice.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, MeshError, Server } from '../../src/index.js';
import { Flag, FrameType } from '../../src/protocol/frame.js';
import { encodeHeader } from '../../src/protocol/header.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';
import { steadyPort } from '../support/steady-port.js';
import { until } from '../support/until.js';

let agent: FakeAgent;
const closing: (Client | Server)[] = [];
let lines: string[] = [];

beforeEach(async () => {
  lines = [];
  const path = join(mkdtempSync(join(tmpdir(), 'ringside-test-')), 'agent.sock');
  agent = await FakeAgent.start({ unix: true, path });
  agent.onRequest = (link, request) => link.reply(request, { body: request.body });
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
  await agent.stop();
  rmSync(dirname(agent.path), { recursive: true });
});

const options = (more: ConnectOptions = {}): ConnectOptions => ({
  app: 'shop',
  agent: { socket: agent.path },
  transport: 'unix',
  backoffMs: { min: 5, max: 20 },
  drainTimeoutMs: 1_000,
  log: (level, message) => lines.push(`${level} ${message}`),
  ...more,
});
async function open(more: ConnectOptions = {}): Promise<Client> {
  const client = await connect(options(more));
  closing.push(client);
  return client;
}
/** An error-response as an agent refuses with it. */
const refusal = (status: number, text: string, flags: number = Flag.notRun) => ({
  status,
  flags,
  header: encodeHeader({ statusMessage: text }),
});
const failure = (call: Promise<unknown>): Promise<MeshError> =>
  call.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: MeshError) => error,
  );
const patient = { waitForReady: true, timeoutMs: 20_000 };

test('without an agent a call fails at once, unless it or its client waits for one', async () => {
  await agent.stop();
  const client = await open({ lazy: true });
  expect(await failure(client.call('s', 'm', ''))).toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
  });
  const waits = await open({ lazy: true, waitForReady: true, timeoutMs: 20_000 });
  const calls = [client.call('s', 'm', 'one', patient), waits.call('s', 'm', 'two')];
  const oneWay = client.send('s', 'm', 'three', patient);
  expect(await failure(waits.call('s', 'm', '', { waitForReady: false }))).toMatchObject({
    status: 'UNAVAILABLE',
  });
  agent = await FakeAgent.start({ unix: true, path: agent.path });
  agent.onRequest = (link, request) => {
    if (request.type === FrameType.request) link.reply(request, { body: request.body });
  };
  expect((await Promise.all(calls)).map(({ body }) => body.toString())).toEqual(['one', 'two']);
  await oneWay;
  await until('the one-way', () => agent.links.some((link) => link.of(FrameType.oneWay).length === 1));
});

test('the agent is asked to let it wait, too; plain calls do not ask for that', async () => {
  const client = await open();
  await client.call('s', 'm', '', patient);
  await client.call('s', 'm', '');
  await client.call('s', 'm', 'x'.repeat(70_000), patient).catch(() => undefined);
  const [link] = agent.links;
  const flags = link?.of(FrameType.request).map((request) => request.flags);
  expect(flags).toEqual([Flag.waitForReady, 0, Flag.more | Flag.waitForReady]);
});

test('a call that is refused as unavailable and has not run is made again, until there is an instance', async () => {
  let refusals = 0;
  agent.onRequest = (link, request) => {
    refusals += 1;
    if (refusals < 4) link.reply(request, refusal(14, 'no instance of this service is registered'));
    else link.reply(request, { body: request.body });
  };
  const client = await open();
  expect((await client.call('s', 'm', 'x', patient)).body.toString()).toBe('x');
  expect(refusals).toBe(4);
});

test.each([
  ['that may have run', refusal(14, 'lost', 0), 'UNAVAILABLE'],
  ['with another status', refusal(8, 'full'), 'RESOURCE_EXHAUSTED'],
])('one that was refused %s is not made again', async (_what, reply, status) => {
  let requests = 0;
  agent.onRequest = (link, request) => {
    requests += 1;
    link.reply(request, reply);
  };
  const client = await open();
  expect(await failure(client.call('s', 'm', '', patient))).toMatchObject({ status });
  expect(requests).toBe(1);
});

test('at its deadline it fails as not run, and says what it waited for', async () => {
  await agent.stop();
  const client = await open({ lazy: true });
  const error = await failure(client.call('ledger', 'm', '', { waitForReady: true, timeoutMs: 60 }));
  expect(error).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
  expect(error.message).toMatch(/while the call waited for ledger: no agent can be reached: unix: /);
  const oneWay = await failure(client.send('ledger', 'm', '', { waitForReady: true, timeoutMs: 60 }));
  expect(oneWay).toMatchObject({ status: 'DEADLINE_EXCEEDED', mayHaveRun: false });
});

test('those that wait end with their signal and with their client', async () => {
  await agent.stop();
  const client = await open({ lazy: true });
  const abort = new AbortController();
  const aborted = failure(client.call('s', 'm', '', { ...patient, signal: abort.signal }));
  const closed = failure(client.call('s', 'm', '', patient));
  abort.abort(new Error('enough'));
  expect(await aborted).toMatchObject({
    status: 'CANCELLED',
    mayHaveRun: false,
    message: 'cancelled: enough',
  });
  await client.close();
  expect(await closed).toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
    message: 'the client is closed',
  });
  expect(await failure(client.call('s', 'm', '', patient))).toMatchObject({
    message: 'the client is closed',
  });
});

test('they are bounded, and one service leaves room for others', async () => {
  await agent.stop();
  const client = await open({ lazy: true, maxPendingCalls: 20 });
  const outcomes: MeshError[] = [];
  const call = (service: string): void => {
    client.call(service, 'm', '', patient).catch((error: MeshError) => outcomes.push(error));
  };
  for (let i = 0; i < 30; i += 1) call('greedy');
  await until('what is over the share to be refused', () => outcomes.length > 0);
  expect(outcomes).toHaveLength(14);
  for (const error of outcomes) {
    expect(error).toMatchObject({ status: 'RESOURCE_EXHAUSTED', mayHaveRun: false });
    expect(error.message).toContain('maxPendingCalls');
  }
  call('other');
  await client.close();
  await until('all to end', () => outcomes.length === 31);
  expect(outcomes.at(-1)).toMatchObject({ message: 'the client is closed' });
});

test('in direct mode a call waits for an endpoint that listens', async () => {
  const address = `127.0.0.1:${steadyPort()}`;
  const direct = { app: 'shop', mesh: false, backoffMs: { min: 5, max: 20 }, log: () => undefined };
  const client = await connect({ ...direct, endpoints: { ledger: [address] } });
  closing.push(client);
  const call = client.call('ledger', 'get', 'x', patient);
  expect(await failure(client.call('ledger', 'get', 'x'))).toMatchObject({
    status: 'UNAVAILABLE',
    mayHaveRun: false,
  });
  const methods = { get: () => 'served' };
  closing.push(await serve({ ...direct, service: 'ledger', methods, listen: address }));
  expect((await call).body.toString()).toBe('served');
});

test('an option that is neither true nor false is refused', async () => {
  const client = await open();
  const wrong = { waitForReady: 'yes' } as unknown as ConnectOptions;
  expect(await failure(client.call('s', 'm', '', wrong))).toMatchObject({ status: 'INVALID_ARGUMENT' });
  await expect(connect(options(wrong))).rejects.toMatchObject({
    status: 'INVALID_ARGUMENT',
    message: 'waitForReady must be true or false',
  });
});

test('serve without an agent says so once, and again when it is served', async () => {
  await agent.stop();
  const methods = { get: () => '' };
  await expect(serve({ ...options(), service: 'ledger', methods })).rejects.toThrow(
    'ledger is not served: no agent can be reached: unix: ',
  );
  expect(lines).toEqual([]);
  const server = await serve({ ...options(), service: 'ledger', methods, lazy: true });
  closing.push(server);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(
    /^warn ledger is not served: no agent can be reached: unix: .*; it is tried again$/,
  );

  agent = await FakeAgent.start({ unix: true, path: agent.path });
  await until('it to be served', () => server.transport === 'unix');
  expect(agent.publications.map(({ service }) => service)).toEqual(['ledger']);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatch(/^warn transport unix: /);
});
