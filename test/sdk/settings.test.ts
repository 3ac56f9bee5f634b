// Options and environment: which agent is meant, which transports may be used, and what is refused with which words.
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseHostPort, resolveEndpoints, resolveSettings } from '../../src/sdk/settings.js';

describe('the agent', () => {
  test('by default: the default socket, and loopback', () => {
    const settings = resolveSettings({}, { XDG_RUNTIME_DIR: '/run/user/7' });
    expect(settings.socketPath).toBe('/run/user/7/ringside/agent.sock');
    expect(settings.tcp).toEqual({ host: '127.0.0.1', port: 15100 });
    expect(settings.rungs).toEqual(['shm', 'unix', 'tcp', 'fallback']);
  });

  test.each([
    ['/run/a.sock', '/run/a.sock'],
    ['unix:/run/a.sock', '/run/a.sock'],
    ['unix:///run/a.sock', '/run/a.sock'],
  ])('%s is a socket, and then no TCP port is guessed', (agent, socketPath) => {
    for (const settings of [resolveSettings({ agent }, {}), resolveSettings({}, { RINGSIDE_AGENT: agent })]) {
      expect(settings).toMatchObject({ socketPath, tcp: undefined, rungs: ['shm', 'unix', 'fallback'] });
    }
  });

  test('a TCP address alone means TCP alone; without a port the default one', () => {
    const settings = resolveSettings({ agent: 'tcp://127.0.0.1' }, { RINGSIDE_AGENT: '/other.sock' });
    expect(settings).toMatchObject({ socketPath: undefined, tcp: { port: 15100 }, rungs: ['tcp'] });
    const both = resolveSettings({}, { RINGSIDE_AGENT: '/a.sock', RINGSIDE_AGENT_TCP: 'tcp://[::1]:7' });
    expect(both).toMatchObject({
      socketPath: '/a.sock',
      tcp: { host: '::1', port: 7 },
      rungs: ['shm', 'unix', 'tcp', 'fallback'],
    });
  });

  test('a relative path is that of the directory in which it was read', () => {
    const here = resolve('run/a.sock');
    for (const agent of ['run/a.sock', './run/a.sock', 'unix:run/a.sock', { socket: 'run/a.sock' }])
      expect(resolveSettings({ agent }, {}).socketPath).toBe(here);
    expect(resolveSettings({}, { RINGSIDE_AGENT: 'run/a.sock' }).socketPath).toBe(here);
    expect(resolveSettings({}, { XDG_RUNTIME_DIR: 'run' }).socketPath).toBe(
      resolve('run/ringside/agent.sock'),
    );
  });

  test('an agent in the options is not mixed with one in the environment', () => {
    expect(
      resolveSettings({ agent: '/a.sock' }, { RINGSIDE_AGENT_TCP: 'tcp://127.0.0.1:9' }).tcp,
    ).toBeUndefined();
  });
});

test('bounds of streamed bodies: the sum is never less than one body', () => {
  const mebibyte = 1024 * 1024;
  expect(resolveSettings({}, {}).streams).toEqual({
    maxBodyBytes: 64 * mebibyte,
    maxStreams: 64,
    maxStreamBytes: 256 * mebibyte,
  });
  expect(resolveSettings({ maxBodyBytes: 400 * mebibyte }, {}).streams.maxStreamBytes).toBe(400 * mebibyte);
});

test('users that may be the agent: from the option, else the environment', () => {
  expect(resolveSettings({}, {}).agentUids).toEqual([]);
  expect(resolveSettings({}, { RINGSIDE_AGENT_UIDS: '900,901' }).agentUids).toEqual([900, 901]);
  expect(resolveSettings({ agentUids: [7] }, { RINGSIDE_AGENT_UIDS: '900' }).agentUids).toEqual([7]);
  expect(resolveSettings({}, { RINGSIDE_AGENT_UIDS: 'any' }).agentUids).toBe('any');
});

describe('what is wrong is said', () => {
  test.each<[object, NodeJS.ProcessEnv, string]>([
    [{ transport: 'pigeon' }, {}, 'transport "pigeon" is not one of auto, shm, unix, tcp'],
    [{}, { RINGSIDE_TRANSPORT: 'x' }, 'transport "x" is not one of'],
    [{ transport: 'tcp', agent: '/a.sock' }, {}, 'transport tcp needs an agent address that was not given'],
    [{ agentUids: [-1] }, {}, 'agentUids must be a list of at most 64 user ids, or "any"'],
    [{ agentUids: 'all' }, {}, 'agentUids must be a list'],
    [{}, { RINGSIDE_AGENT_UIDS: '900,,901' }, 'RINGSIDE_AGENT_UIDS must be a list'],
    [{}, { RINGSIDE_AGENT_UIDS: 'root' }, 'RINGSIDE_AGENT_UIDS must be a list'],
    [{ ringBytes: 300_000 }, {}, 'ringBytes must be a power of two'],
    [{ ringBytes: 1024 }, {}, 'ringBytes must be a power of two'],
    [{ maxPendingCalls: 1.5 }, {}, 'maxPendingCalls must be a whole number'],
    [{ maxBodyBytes: 65_535 }, {}, 'maxBodyBytes must be a whole number from 65536 to 4294967295'],
    [{ maxBodyBytes: 2 ** 32 }, {}, 'maxBodyBytes must be a whole number from 65536 to 4294967295'],
    [{ maxStreams: 0 }, {}, 'maxStreams must be a whole number from 1 to 65536'],
    [
      { maxBodyBytes: 70_000, maxStreamBytes: 69_999 },
      {},
      'maxStreamBytes must be a whole number from 70000',
    ],
    [{ agent: `/${'d'.repeat(107)}` }, {}, 'has 108 bytes; the system takes at most 107'],
    [{ agent: { socket: '' } }, {}, 'agent: the path of the socket is empty'],
    [{ connectTimeoutMs: 0 }, {}, 'connectTimeoutMs must be more than 0'],
    [{ agent: 'tcp://host:99999' }, {}, 'is not of the form host:port'],
  ])('%j %j', (options, env, text) => {
    expect(() => resolveSettings(options, env)).toThrow(text);
  });

  test('endpoints', () => {
    expect(() => resolveEndpoints(undefined, { RINGSIDE_ENDPOINTS: '{' })).toThrow(
      'RINGSIDE_ENDPOINTS is not JSON',
    );
    expect(() => resolveEndpoints(undefined, { RINGSIDE_ENDPOINTS: '{"a":"b:1"}' })).toThrow(
      'must be a list',
    );
    expect(() => resolveEndpoints(undefined, { RINGSIDE_ENDPOINTS: '5' })).toThrow('must map services');
    expect(() => parseHostPort('nohost')).toThrow('is not of the form host:port');
    expect(resolveEndpoints({ a: ['h:1', '[::1]:2'] }, {}).get('a')).toEqual([
      { host: 'h', port: 1 },
      { host: '::1', port: 2 },
    ]);
  });
});
