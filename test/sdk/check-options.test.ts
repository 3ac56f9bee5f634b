// What applications give to connect, serve and calls: wrong types and impossible names are refused by name before anything else happens, unknown options are
// told once and do no harm.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MeshError, connect, serve } from '../../src/index.js';
import type { Client, ConnectOptions, ServeOptions } from '../../src/index.js';
import { FakeAgent } from '../support/fake-mesh-agent.js';

let agent: FakeAgent;
let lines: string[];
const closing: { close(): Promise<void> }[] = [];
const log = (level: string, message: string): number => lines.push(`${level} ${message}`);

beforeEach(async () => {
  lines = [];
  agent = await FakeAgent.start({ unix: true });
  agent.onRequest = (link, request) => link.reply(request, { body: request.body });
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
  await agent.stop();
});

async function refusal(attempt: Promise<{ close(): Promise<void> } | object | void>): Promise<MeshError> {
  const outcome: unknown = await attempt.then(
    (made) => void (typeof made === 'object' && 'close' in made && closing.push(made)),
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(MeshError);
  return outcome as MeshError;
}
const invalid = { status: 'INVALID_ARGUMENT', mayHaveRun: false, retryable: false };

const wrongForBoth: Record<string, unknown> = {
  app: 5,
  agent: 15_100,
  agentUids: 0,
  transport: 1,
  token: Buffer.from('secret'),
  mesh: 'off',
  ringBytes: '1048576',
  connectTimeoutMs: '2000',
  keepAliveMs: '10s',
  backoffMs: 100,
  drainTimeoutMs: null,
  log: console,
  maxPendingCalls: '1',
  maxOutboundBytes: true,
  maxBodyBytes: '64MiB',
  maxStreams: {},
  maxStreamBytes: [],
  timeoutMs: '5000',
  waitForReady: 'yes',
  lazy: 1,
  endpoints: 'users=host:1',
};

describe('connect', () => {
  test.each(Object.entries(wrongForBoth))('refuses %s: %o', async (name, value) => {
    const options = { agent: agent.path, lazy: true, [name]: value } as ConnectOptions;
    const error = await refusal(connect(options));
    expect(error).toMatchObject(invalid);
    expect(error.message).toMatch(new RegExp(`^${name} must `));
  });

  test.each<[object, string]>([
    [{ agent: { path: '/a.sock' } }, 'agent does not know path, only socket and tcp'],
    [{ agent: { socket: 5 } }, 'agent must be a string (socket)'],
    [{ backoffMs: { min: '5' } }, 'backoffMs must be a number (min)'],
    [{ app: 'a\nb' }, 'app must not hold control characters'],
    [[], 'the options of connect must be an object'],
  ])('%j', async (options, text) => {
    expect(await refusal(connect(options))).toMatchObject({ ...invalid, message: text });
  });

  test('null and text are no options', async () => {
    for (const options of [null, '/run/agent.sock']) {
      expect(await refusal(connect(options as unknown as ConnectOptions))).toMatchObject(invalid);
    }
  });

  test('an option that is not known is told once, with what was probably meant', async () => {
    const options = { agent: agent.path, transport: 'unix', log, timeoutms: 5, colour: 'red' };
    for (let n = 0; n < 2; n += 1) closing.push(await connect(options as ConnectOptions));
    expect(lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn the option timeoutms of connect is not known and is ignored: did you mean timeoutMs?',
      'warn the option colour of connect is not known and is ignored',
    ]);
  });
});

describe('serve', () => {
  const good = (): ServeOptions => ({
    agent: agent.path,
    transport: 'unix',
    service: 's',
    methods: () => '',
  });

  test.each([
    ...Object.entries(wrongForBoth),
    ...Object.entries({ service: 5, group: 5, version: {}, weight: '7', methods: 'get', listen: 80 }),
    ...Object.entries({ maxConcurrentRequests: '5', defaultTimeoutMs: '5' }),
  ])('refuses %s: %o', async (name, value) => {
    const error = await refusal(serve({ ...good(), lazy: true, [name]: value }));
    expect(error).toMatchObject(invalid);
    expect(error.message).toMatch(new RegExp(`^${name} must `));
    expect(agent.publications).toEqual([]);
  });

  test.each<[object, string]>([
    [{ service: '' }, 'service must not be empty'],
    [{ service: 's'.repeat(257) }, 'service must be at most 256 bytes'],
    [{ service: 'a\nb' }, 'service must not hold control characters'],
    [{ service: 'half \ud800' }, 'service must be well-formed Unicode'],
    [{ service: 'ringside.agent' }, 'service is the name of the agent itself'],
    [{ service: undefined }, 'serve needs the option service'],
    [{ methods: undefined }, 'serve needs the option methods'],
    [{ group: 'a\tb' }, 'group must not hold control characters'],
    [{ version: 'ü'.repeat(129) }, 'version must be at most 256 bytes'],
    [{ weight: -1 }, 'weight must be a whole number from 0 to 1000000'],
    [{ methods: { get: 5 } }, 'methods must hold functions: the handler of get is not one'],
    [
      { methods: { 'a\nb': () => '' } },
      'methods names a method that must not hold control characters: "a\\nb"',
    ],
  ])('%j, also when lazy', async (more, text) => {
    for (const lazy of [false, true]) {
      const error = await refusal(serve({ ...good(), lazy, ...more }));
      expect(error).toMatchObject({ ...invalid, message: text });
    }
    expect(agent.publications).toEqual([]);
  });

  test('an option that is not known is told and does no harm', async () => {
    closing.push(await serve({ ...good(), log, retries: 3 } as ServeOptions));
    expect(agent.publications).toHaveLength(1);
    expect(lines).toContain('warn the option retries of serve is not known and is ignored');
  });
});

describe('a call', () => {
  async function both(options: ConnectOptions): Promise<Client> {
    const client = await connect({ transport: 'unix', log, ...options });
    closing.push(client);
    return client;
  }

  test.each<[string, unknown]>([
    ['timeoutMs', '200'],
    ['hashKey', 7],
    ['group', 7],
    ['version', 1],
    ['contentType', {}],
    ['traceparent', null],
    ['tracestate', 5],
    ['waitForReady', 'yes'],
    ['attachments', 'a=b'],
    ['attachments', { a: 5 }],
    ['signal', 'abort'],
  ])('with a wrong %s (%o) is refused', async (name, value) => {
    const client = await both({ agent: agent.path });
    const options = { [name]: value };
    for (const attempt of [client.call('s', 'm', '', options), client.send('s', 'm', '', options)]) {
      const error = await refusal(attempt);
      expect(error).toMatchObject(invalid);
      expect(error.message).toMatch(new RegExp(`^${name} must be `));
    }
  });

  test.each<[string, string, object, string]>([
    ['', 'm', {}, 'the service of a call must not be empty'],
    ['a\nb', 'm', {}, 'the service of a call must not hold control characters'],
    ['s'.repeat(257), 'm', {}, 'the service of a call must be at most 256 bytes'],
    ['half \udc00', 'm', {}, 'the service of a call must be well-formed Unicode'],
    ['s', 'a\u0000', {}, 'the method of a call to s must not hold control characters'],
    ['s', 'm'.repeat(257), {}, 'the method of a call to s must be at most 256 bytes'],
    ['s', 'm', { group: 'g\r' }, 'the group of a call to s must not hold control characters'],
    ['s', 'm', { group: 'g'.repeat(257) }, 'the group of a call to s must be at most 256 bytes'],
  ])('%j %j %j is refused, also where no agent is', async (service, method, options, message) => {
    const there = await both({ agent: agent.path });
    const absent = await both({ agent: `${agent.path}.absent`, lazy: true });
    for (const client of [there, absent]) {
      expect(await refusal(client.call(service, method, '', options))).toMatchObject({ ...invalid, message });
      expect(await refusal(client.send(service, method, '', options))).toMatchObject({ ...invalid, message });
    }
  });

  test('with an option that is not known is made, and that is told once', async () => {
    const client = await both({ agent: agent.path });
    for (let n = 0; n < 3; n += 1) await client.call('s', 'm', '', { timeout: 5 } as object);
    expect(lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn the option timeout of a call is not known and is ignored: did you mean timeoutMs?',
    ]);
  });
});

describe('what a refusal says', () => {
  test('no agent: the service, what was tried, and what to do; trying again can help', async () => {
    const absent = `${agent.path}.absent`;
    const advice = 'start the agent, or say where it listens with the option agent or RINGSIDE_AGENT';
    const error = await refusal(connect({ agent: absent, transport: 'unix', log }));
    expect(error).toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false, retryable: true });
    expect(error.message).toContain(advice);
    const client = await connect({ agent: absent, transport: 'unix', lazy: true, log });
    closing.push(client);
    const call = await refusal(client.call('users', 'get', ''));
    expect(call).toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false, retryable: true });
    expect(call.message).toMatch(
      /^no agent can be reached: unix: .*ENOENT.*: service users was not called: start/,
    );
    expect(call.message).toContain(advice);
  });

  test.each([
    [7, 'PERMISSION_DENIED'],
    [16, 'UNAUTHENTICATED'],
  ])(
    'an agent that does not take this application (%i): its status, and no trying again',
    async (status, name) => {
      agent.refuse = { status, text: 'uid 12 may not' };
      const way: ConnectOptions = { agent: agent.path, transport: 'unix', log };
      expect(await refusal(connect(way))).toMatchObject({
        status: name,
        mayHaveRun: false,
        retryable: false,
      });
      const client = await connect({ ...way, lazy: true });
      closing.push(client);
      expect(await refusal(client.call('users', 'get', ''))).toMatchObject({
        status: name,
        retryable: false,
      });
    },
  );

  test('an agent that is starting may be asked again', async () => {
    agent.refuse = { status: 14, text: 'starting' };
    const error = await refusal(connect({ agent: agent.path, transport: 'unix', log }));
    expect(error).toMatchObject({ status: 'UNAVAILABLE', retryable: true });
    expect(error.message).not.toContain('start the agent');
  });

  test('a service that the agent refuses: its status and words, the name, and no trying again', async () => {
    agent.refusePublish = { status: 9, text: 'applications of this agent serve nothing' };
    const way = { agent: agent.path, transport: 'unix' as const, log };
    const error = await refusal(serve({ ...way, service: 'users', methods: () => '' }));
    expect(error).toMatchObject({ status: 'FAILED_PRECONDITION', mayHaveRun: false, retryable: false });
    expect(error.message).toBe(
      'users is not served: no agent can be reached: unix: applications of this agent serve nothing',
    );
  });

  test('a client that is closed stays so', async () => {
    const client = await connect({ agent: agent.path, transport: 'unix', log });
    await client.close();
    expect(await refusal(client.call('s', 'm', ''))).toMatchObject({
      status: 'UNAVAILABLE',
      retryable: false,
    });
  });

  test('direct mode: a service without endpoints stays without', async () => {
    const client = await connect({ mesh: false, endpoints: {}, log });
    closing.push(client);
    const error = await refusal(client.call('users', 'get', ''));
    expect(error).toMatchObject({ status: 'UNAVAILABLE', retryable: false });
    expect(error.message).toBe(
      'no endpoints are given for service users: name them in the option endpoints or RINGSIDE_ENDPOINTS',
    );
  });
});
