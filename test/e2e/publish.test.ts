// Programs that know nothing of the mesh, published by the agent's configuration alone: they are found and called like any other, leave
// the registry when they do not answer, come back when they do, and follow a changed configuration without losing a call.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProgramView } from '../../src/observe/agent-view.js';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, CallFailure } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldServer } from '../support/old-server.js';
import type { OldRequest } from '../support/old-server.js';
import { until } from '../support/until.js';

const mesh = new Mesh();
const servers: OldServer[] = [];
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
const healthCheck = { intervalMs: 50, timeoutMs: 2_000, failures: 2, successes: 2 };

const handler =
  (name: string) =>
  ({ params: { m, args } }: OldRequest) => {
    if (m === 'who') return { ec: 200, em: '', result: name };
    return m === 'echo' ? { ec: 200, em: '', result: args } : { ec: 502, em: `no method ${m}` };
  };

async function oldServer(name: string, at?: number | string): Promise<OldServer> {
  const server = await OldServer.start(handler(name), at);
  servers.push(server);
  return server;
}

async function who(service: string): Promise<string> {
  const { body } = await client.call(service, 'who', '[]');
  return JSON.parse(body.toString()) as string;
}

/** Waits until calls reach a program that takes JSON. */
const reached = (service: string): Promise<boolean> =>
  until(`calls to reach ${service}`, () =>
    who(service).then(
      () => true,
      (error: CallFailure) => {
        if (error.status !== 'UNAVAILABLE') throw error;
        return false;
      },
    ),
  );

const programs = (agent: AgentProcess): Promise<ProgramView[]> => agent.get('/programs');
const state = async (agent: AgentProcess, service: string): Promise<string | undefined> =>
  (await programs(agent)).find((program) => program.service === service)?.state;

/** Instances of a service that `near` knows. */
async function endpoints(service: string): Promise<number> {
  const found = (await near.clusters()).filter((c) => c.direction === 'outbound' && c.service === service);
  return found.reduce((sum, cluster) => sum + cluster.endpoints.length, 0);
}

beforeAll(async () => {
  [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
  client = await mesh.client('client', near);
});
afterAll(async () => {
  await mesh.close();
  await Promise.all(servers.map((server) => server.close()));
});

/** Publishes these through `far`, instead of what was published there. */
async function publish(...entries: object[]): Promise<void> {
  const before = far.log.length;
  far.change({ publish: entries.map((entry) => ({ protocol: 'legacy', healthCheck, ...entry })) });
  await far.logged('the reload', ({ msg, fields }) => {
    const at = far.log.findLastIndex((line) => line.msg === 'the configuration was reloaded');
    return msg === 'the configuration was reloaded' && String(fields).includes('publish') && at >= before;
  });
}

describe('a published program', () => {
  let server: OldServer;
  const service = '/service/published';
  beforeAll(async () => {
    server = await oldServer('first');
    await publish({ service, group: 'blue', address: server.address, weight: 7, zone: 'east' });
    await reached(service);
  });

  it('is called through both agents, under the address of the one that published it', async () => {
    expect(await who(service)).toBe('first');
    expect(
      JSON.parse((await client.call(service, 'echo', '["ü", 1]', { group: 'blue' })).body.toString()),
    ).toEqual(['ü', 1]);
    const [cluster] = (await near.clusters()).filter((c) => c.service === service && c.group === '');
    expect(cluster?.endpoints).toMatchObject([
      { address: `127.0.0.1:${far.inbound}`, weight: 7, zone: 'east' },
    ]);
    expect(await programs(far)).toEqual([
      {
        service,
        group: 'blue',
        protocol: 'legacy',
        address: server.address,
        state: 'published',
        problem: null,
      },
    ]);
    await far.logged(
      'its publication',
      (line) => line.msg === 'a program is published' && line['service'] === service,
    );
  });

  it('leaves the registry when it does not answer, and comes back when it does', async () => {
    const { port } = server;
    await server.close();
    await until('it to leave the registry', async () => (await endpoints(service)) === 0);
    expect(await state(far, service)).toBe('failing');
    expect((await programs(far))[0]?.problem).toContain('ECONNREFUSED');
    await expect(client.call(service, 'who', '[]')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
    const metrics = await (await fetch(new URL('/metrics', far.adminUrl))).text();
    expect(metrics).toContain(`ringside_programs{service="${service}",group="blue",state="failing"} 1`);
    await far.logged(
      'that it does not answer',
      (line) =>
        line.msg.startsWith('a program does not answer') && String(line['problem']).includes('ECONNREFUSED'),
    );

    server = await oldServer('again', port);
    await until('it to be called again', () =>
      who(service).then(
        (name) => name === 'again',
        () => false,
      ),
    );
    expect(await state(far, service)).toBe('published');
  });

  it('that hangs leaves as well', async () => {
    const hung = await OldServer.start(() => new Promise(() => undefined));
    servers.push(hung);
    await publish(
      { service, group: 'blue', address: server.address },
      { service: '/service/hung', address: hung.address, healthCheck: { ...healthCheck, timeoutMs: 50 } },
    );
    await until('it to be published', async () => (await state(far, '/service/hung')) === 'published');
    hung.silent = true;
    await until('it to fail', async () => (await state(far, '/service/hung')) === 'failing');
    const hungView = (await programs(far)).find((program) => program.service === '/service/hung');
    expect(hungView?.problem).toContain('no answer within 50 ms');
    hung.silent = false;
    await until('it to be back', async () => (await state(far, '/service/hung')) === 'published');
  });

  it('is replaced by a change of the configuration under load without a failed call', async () => {
    let calling = true;
    let calls = 0;
    const load = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (calling) {
          const { body } = await client.call(service, 'echo', `[${(calls += 1)}]`);
          expect(body.toString()).toMatch(/^\[\d+\]$/);
        }
      }),
    );
    const second = await oldServer('second');
    await publish(
      { service, group: 'blue', address: server.address },
      { service, group: 'blue', address: second.address },
    );
    await until('the second to be called', () => second.requests.length > 20);
    await publish({ service, group: 'blue', address: second.address });
    const before = server.requests.length;
    const seen = second.requests.length;
    await until('calls to go on', () => second.requests.length > seen + 200);
    // Those that were under way when its publication ended.
    expect(server.requests.length - before).toBeLessThanOrEqual(8);
    calling = false;
    await load;
    await publish();
    await until('it to be gone', async () => (await endpoints(service)) === 0);
    expect(await programs(far)).toEqual([]);
  });
});

describe('other programs', () => {
  it('one on a unix socket, one that speaks mesh, one that is only connected to', async () => {
    const path = `${mesh.directory}/old.sock`;
    await oldServer('behind a path', path);
    const speaker = await mesh.app('speaker');
    const { address } = await speaker.serve({ mesh: false, service: 'speaks-mesh', listen: '127.0.0.1:0' });
    const plain = await oldServer('plain');
    await publish(
      { service: '/service/path', address: path },
      { service: 'speaks-mesh', protocol: 'mesh', address },
      { service: '/service/plain', address: plain.address, healthCheck: { ...healthCheck, kind: 'tcp' } },
    );
    await reached('/service/path');
    await mesh.reachable(client, 'speaks-mesh');
    await reached('/service/plain');
    expect(await who('/service/path')).toBe('behind a path');
    expect((await client.call('speaks-mesh', 'who')).body.toString()).toBe('speaker');
    expect(await who('/service/plain')).toBe('plain');
    await speaker.closeServer();
    await until('the mesh program to be gone', async () => (await endpoints('speaks-mesh')) === 0);
  });

  it('one that was never there is not published, and the log says so', async () => {
    await publish({ service: '/service/absent', address: '127.0.0.1:9' });
    await far.logged(
      'that it does not answer',
      (line) => line.msg.startsWith('a program does not answer') && line['service'] === '/service/absent',
    );
    expect(await state(far, '/service/absent')).toBe('failing');
    expect(await endpoints('/service/absent')).toBe(0);
  });

  it('stay published while another process takes over', async () => {
    const speaker = await mesh.app('stays');
    const { address } = await speaker.serve({ mesh: false, service: 'stays', listen: '127.0.0.1:0' });
    await publish({ service: 'stays', protocol: 'mesh', address });
    await mesh.reachable(client, 'stays');
    const idOf = async (): Promise<string | undefined> =>
      (await near.clusters()).find((c) => c.service === 'stays' && c.group === '')?.endpoints[0]?.id;
    const before = await idOf();
    await client.startLoad({ service: 'stays', method: 'echo', inFlight: 4, prefix: 'upgrade' });
    await client.reached('upgrade', 50);
    far = await mesh.upgrade(far);
    const { ok } = await client.loadSoFar('upgrade');
    await client.reached('upgrade', ok + 50);
    const { failures } = await client.endLoad('upgrade');
    expect(failures).toEqual([]);
    expect(await idOf()).toBe(before);
    await until('the new process to check it', async () => (await state(far, 'stays')) === 'published');
    expect(far.log.some(({ msg }) => msg === 'a program is published')).toBe(false);
  });
});
