// The legacy protocol on real agents with the clients that people have: old clients and new ones, old servers and new ones, in every
// combination, and the lookup and registration that old programs find one another with.
import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldServer } from '../support/old-server.js';
import { until } from '../support/until.js';

interface Answer {
  ec: number;
  em: string;
  result: unknown;
}

const mesh = new Mesh();
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
let oldServer: OldServer;
let renewal: NodeJS.Timeout;
const never = new Promise<Answer>(() => undefined);

function request(action: string, m: string, args: unknown[] = [], props?: Record<string, string>): string {
  return JSON.stringify({ action, params: { m, args }, ...(props === undefined ? {} : { props }) });
}

async function call(redis: Redis, ...what: Parameters<typeof request>): Promise<Answer> {
  return JSON.parse((await redis.get(request(...what))) as string) as Answer;
}

/** An old client of an agent's port; ends with the test. */
async function connected<T>(port: number, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 1 });
  redis.on('error', () => undefined);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

function register(port: number, service: string, address: string): Promise<Answer> {
  return connected(port, (redis) =>
    call(redis, '/service/moa-admin', 'registerService', [service, address, 'redis', {}]),
  );
}

/** What lookup says through `near`. */
function hosts(...args: unknown[]): Promise<string[]> {
  return connected(near.loopback, async (redis) => {
    const { result } = await call(redis, '/service/lookup', 'getService', args);
    return (result as { hosts: string[] }).hosts;
  });
}

beforeAll(async () => {
  [near, far] = await Promise.all([
    mesh.agent('near'),
    mesh.agent('far', { legacy: { registration: 'any' } }),
  ]);
  client = await mesh.client('client', near);
  await mesh.server('server', far, { service: '/service/new', group: 'blue' });
  oldServer = await OldServer.start(({ params: { m, args }, props }) => {
    switch (m) {
      case 'echo':
        return { ec: 200, em: '', result: { args, props } };
      case 'throws':
        return { ec: 503, em: 'it threw: zürich "1"' };
      case 'never':
        return never;
      default:
        return { ec: 502, em: `no method ${m}` };
    }
  });
  expect(await register(far.inbound, '/service/old', oldServer.address)).toEqual({
    ec: 200,
    em: '',
    result: true,
  });
  // As old servers do.
  renewal = setInterval(() => {
    register(far.inbound, '/service/old', oldServer.address).catch(() => undefined);
  }, 5_000);
  await mesh.reachable(client, '/service/new');
  await connected(near.loopback, (redis) =>
    until('the old server to be known', async () => (await call(redis, '/service/old', 'echo')).ec === 200),
  );
});
afterAll(async () => {
  clearInterval(renewal);
  await mesh.close();
  await oldServer.close();
});

describe('the four pairings', () => {
  it('old client, new server', () =>
    connected(near.loopback, async (redis) => {
      expect(await call(redis, '/service/new', 'echo', ['a', { b: [1.5, 'ü'] }])).toEqual({
        ec: 200,
        em: '',
        result: ['a', { b: [1.5, 'ü'] }],
      });
      const props = { hashid: '7', 'moa.env.pre': '1' };
      const { result } = await call(redis, '/service/new#blue', 'info', [], props);
      expect(result).toMatchObject({
        service: '/service/new',
        group: 'blue',
        hashKey: '7',
        contentType: 'application/json',
        attachments: props,
      });
      expect(await call(redis, '/service/new', 'fail-mesh')).toEqual({
        ec: 300,
        em: 'no such thing: zürich',
        result: null,
      });
      expect((await call(redis, '/service/new', 'nothing')).ec).toBe(502);
      expect((await call(redis, '/service/new#red', 'echo')).ec).toBe(303);
      expect((await call(redis, '/service/nobody', 'echo')).ec).toBe(303);
    }));

  it('new client, old server', async () => {
    const { body } = await client.call('/service/old', 'echo', '["x", 1]', {
      attachments: { k: 'v' },
    });
    expect(JSON.parse(body.toString())).toEqual({ args: ['x', 1], props: { k: 'v' } });
    await expect(client.call('/service/old', 'throws', '[]')).rejects.toMatchObject({
      status: 'UNKNOWN',
      message: 'it threw: zürich "1"',
    });
    await expect(client.call('/service/old', 'nothing', '[]')).rejects.toMatchObject({
      status: 'UNIMPLEMENTED',
    });
    await expect(client.call('/service/old', 'echo', '{}')).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      mayHaveRun: false,
    });
  });

  it('old client, old server', () =>
    connected(near.loopback, async (redis) => {
      expect(await call(redis, '/service/old', 'echo', [1], { k: 'v' })).toEqual({
        ec: 200,
        em: '',
        result: { args: [1], props: { k: 'v' } },
      });
      expect(await call(redis, '/service/old', 'throws')).toMatchObject({
        ec: 503,
        em: 'it threw: zürich "1"',
      });
      expect((await call(redis, '/service/old', 'nothing')).ec).toBe(502);
    }));

  it('a body of a megabyte passes both ways', () =>
    connected(near.loopback, async (redis) => {
      const large = 'ü'.repeat(500_000);
      for (const service of ['/service/new', '/service/old']) {
        const { ec, result } = await call(redis, service, 'echo', [large]);
        expect(ec).toBe(200);
        expect(JSON.stringify(result)).toContain(large);
      }
    }));
});

describe('an old server', () => {
  it('gets one request at a time on a connection', () =>
    connected(near.loopback, async (redis) => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) => call(redis, '/service/old', 'echo', [i])),
      );
      expect(answers.map(({ result }) => (result as { args: unknown[] }).args[0])).toEqual(
        Array.from({ length: 200 }, (_, i) => i),
      );
      expect(oldServer.mostAtOnce).toBe(1);
    }));

  it('whose answer comes too late never answers another request', async () => {
    await expect(client.call('/service/old', 'never', '[]', { timeoutMs: 200 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
    });
    for (let i = 0; i < 20; i += 1) {
      const { body } = await client.call('/service/old', 'echo', `[${i}]`);
      expect(JSON.parse(body.toString())).toEqual({ args: [i] });
    }
  });
});

describe('lookup and registration', () => {
  it('tell old clients where to go, on each agent and with groups', async () => {
    expect(await hosts('/service/old', 'redis')).toEqual([
      `${oldServer.address}?timeout=1000&protocol=redis`,
    ]);
    const agents = [`127.0.0.1:${far.inbound}?timeout=1000&protocol=redis`];
    expect(await hosts('/service/new', 'redis')).toEqual(agents);
    expect(await hosts('/service/new', 'redis', 'blue')).toEqual(agents);
    expect(await hosts('/service/new', 'redis', 'red')).toEqual([]);
    expect(await hosts('/service/new', 'thrift')).toEqual([]);
  });

  it('are refused to strangers unless the configuration opens the inbound port to them', async () => {
    expect(await register(near.inbound, '/service/stranger', '127.0.0.1:9')).toEqual({
      ec: 506,
      em: expect.stringContaining('legacy.registration') as string,
      result: null,
    });
    expect(await hosts('/service/stranger', 'redis')).toEqual([]);
    expect((await register(near.loopback, '/service/neighbour', '127.0.0.1:9')).ec).toBe(200);
    await until('it to be listed', async () => (await hosts('/service/neighbour', 'redis')).length === 1);
  });

  it('a server that does not renew its registration is listed no more, one that does stays', async () => {
    await until('it to be listed', async () => {
      await register(far.inbound, '/service/silent', '127.0.0.1:9');
      return (await hosts('/service/silent', 'redis')).length === 1;
    });
    await until(
      'it to be listed no more',
      async () => (await hosts('/service/silent', 'redis')).length === 0,
    );
    expect((await hosts('/service/old', 'redis')).length).toBe(1);
  });

  it('what lookup says can be called', () =>
    connected(far.inbound, async (redis) => {
      expect(await call(redis, '/service/new', 'echo', [1])).toEqual({ ec: 200, em: '', result: [1] });
    }));

  it('a server that unregisters is listed no more', () =>
    connected(near.loopback, async (redis) => {
      const args = ['/service/brief', '127.0.0.1:9', 'redis', 'g', {}];
      expect((await call(redis, '/service/moa-admin', 'registerService', args)).ec).toBe(200);
      const listed = async (): Promise<number> => {
        const { result } = await call(redis, '/service/lookup', 'getService', [
          '/service/brief',
          'redis',
          'g',
        ]);
        return (result as { hosts: string[] }).hosts.length;
      };
      await until('it to be listed', async () => (await listed()) === 1);
      expect((await call(redis, '/service/moa-admin', 'unregisterService', args)).ec).toBe(200);
      await until('it to be listed no more', async () => (await listed()) === 0);
      const wrong = ['/service/brief', 'nowhere', 'redis', {}];
      expect((await call(redis, '/service/moa-admin', 'registerService', wrong)).ec).toBe(300);
    }));
});

describe('stock clients', () => {
  const echo = request('/service/new', 'echo', [1]);
  const expected = '{"ec":200,"em":"","result":[1]}';

  it('node-redis', async () => {
    const redis = createClient({ socket: { port: near.loopback, host: '127.0.0.1' } });
    await redis.connect();
    expect(await redis.get(echo)).toBe(expected);
    expect(await redis.ping()).toBe('PONG');
    expect(await redis.multi().get(echo).ping().get(echo).exec()).toEqual([expected, 'PONG', expected]);
    await redis.close();
  });

  it('ioredis, a transaction', () =>
    connected(near.loopback, async (redis) => {
      const batch = redis.multi();
      for (let i = 0; i < 100; i += 1) batch.get(request('/service/new', 'echo', [i]));
      const results = (await batch.select(1).exec()) ?? [];
      expect(results.slice(0, 100).map(([, text]) => (JSON.parse(text as string) as Answer).result)).toEqual(
        Array.from({ length: 100 }, (_, i) => [i]),
      );
      expect(results[100]?.[0]?.message).toMatch(/DB index is out of range/);
      await expect(redis.multi().get(echo).set('a', 'b').exec()).rejects.toThrow(/EXECABORT/);
      await expect(redis.watch('a')).rejects.toThrow(/WATCH is not supported/);
    }));

  it('who sends and closes at once is answered', async () => {
    const socket = connect(near.loopback, '127.0.0.1');
    socket.end(`*2\r\n$3\r\nGET\r\n$${Buffer.byteLength(echo)}\r\n${echo}\r\n`);
    expect(await text(socket)).toBe(`$${expected.length}\r\n${expected}\r\n`);
  });

  it('ioredis, a pipeline', () =>
    connected(near.loopback, async (redis) => {
      const batch = redis.pipeline();
      for (let i = 0; i < 100; i += 1) batch.get(request('/service/new', 'echo', [i]));
      const results = (await batch.exec()) ?? [];
      expect(results.map(([, text]) => (JSON.parse(text as string) as Answer).result)).toEqual(
        Array.from({ length: 100 }, (_, i) => [i]),
      );
      await expect(redis.set('a', 'b')).rejects.toThrow(/unknown command/);
      expect(await redis.info()).toContain('"server":"ringside"');
    }));

  it.skipIf(missing('redis-cli', ['--version']))('redis-cli', () => {
    const run = (...args: string[]): string =>
      succeeded(
        spawnSync('redis-cli', ['-p', String(near.loopback), ...args], { encoding: 'utf8', timeout: 60_000 }),
      );
    expect(run('GET', echo)).toBe(`${expected}\n`);
    expect(run('-3', 'PING')).toContain('PONG');
  });

  it.skipIf(missing('redis-benchmark', ['--version']))('redis-benchmark', () => {
    const args = ['-p', String(near.loopback), '-n', '2000', '-c', '8', '-P', '16', '-q', 'GET', echo];
    const out = succeeded(spawnSync('redis-benchmark', args, { encoding: 'utf8', timeout: 120_000 }));
    expect(out).toMatch(/requests per second/);
  });

  it.skipIf(missing('/usr/bin/python3', ['-c', 'import redis']))('redis-py', () => {
    const program = `
import json, redis, sys
r = redis.Redis(port=int(sys.argv[1]))
assert r.get(sys.argv[2]).decode() == sys.argv[3]
p = r.pipeline(transaction=False)
for i in range(50): p.get(json.dumps({"action": "/service/new", "params": {"m": "echo", "args": [i]}}))
assert [json.loads(x)["result"] for x in p.execute()] == [[i] for i in range(50)]
p = r.pipeline()
for i in range(50): p.get(json.dumps({"action": "/service/new", "params": {"m": "echo", "args": [i]}}))
assert [json.loads(x)["result"] for x in p.execute()] == [[i] for i in range(50)]
p.get(sys.argv[2]).set("a", "b")
try: p.execute(); sys.exit("no error")
except redis.exceptions.ExecAbortError: pass
except redis.exceptions.ResponseError as e: assert "unknown command" in str(e), e
assert r.get(sys.argv[2]).decode() == sys.argv[3]
`;
    succeeded(python(program, String(near.loopback), echo, expected));
  });

  it.skipIf(missing('php', ['-r', 'exit(class_exists("Redis") ? 0 : 1);']))('phpredis', () => {
    const program = `
$r = new Redis(); $r->connect('127.0.0.1', (int)$argv[1]);
$r->multi(Redis::PIPELINE); for ($i = 0; $i < 50; $i++) $r->get($argv[2]);
foreach ($r->exec() as $x) if ($x !== $argv[3]) exit(1);
$r->multi(); for ($i = 0; $i < 50; $i++) $r->get($argv[2]);
foreach ($r->exec() as $x) if ($x !== $argv[3]) exit(3);
if ($r->get($argv[2]) !== $argv[3]) exit(2);`;
    const args = ['-r', program, '--', String(near.loopback), echo, expected];
    succeeded(spawnSync('php', args, { encoding: 'utf8', timeout: 60_000 }));
  });
});

function missing(program: string, args: string[]): boolean {
  const absent = spawnSync(program, args, { stdio: 'ignore' }).status !== 0;
  if (absent) console.warn(`${program} is missing: its test is skipped`);
  return absent;
}

function python(program: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync('/usr/bin/python3', ['-c', program, ...args], { encoding: 'utf8', timeout: 60_000 });
}

function succeeded({ status, stdout, stderr }: SpawnSyncReturns<string>): string {
  expect({ status, stderr }).toMatchObject({ status: 0 });
  return stdout;
}
