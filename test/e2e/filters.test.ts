// A user's filter on real agents: what it may do to requests (the example of examples/filter), what a broken one does to its own
// requests and to no others, and how a module that does not load is refused.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';

const example = fileURLToPath(new URL('../../examples/filter/', import.meta.url));
const awkward = fileURLToPath(new URL('../support/filters/awkward.mjs', import.meta.url));

interface Seen {
  group: string;
  attachments: Record<string, string>;
  servedBy: string;
}

describe('the example', () => {
  const mesh = new Mesh();
  let near: AgentProcess;
  let far: AgentProcess;
  let client: AppProcess;

  beforeAll(async () => {
    const config = parse(readFileSync(join(example, 'agent.yaml'), 'utf8')) as {
      filters: { module: string }[];
    };
    const filters = config.filters.map((filter) => ({ ...filter, module: join(example, filter.module) }));
    [near, far] = await Promise.all([mesh.agent('near', { ...config, filters }), mesh.agent('far')]);
    [client] = await Promise.all([
      mesh.client('client', near),
      mesh.server('stable', far, { service: 'users', group: 'stable' }),
      mesh.server('canary', far, { service: 'users', group: 'canary' }),
      mesh.server('plain', far, { service: 'plain' }),
    ]);
    await mesh.reachable(client, 'users');
    await mesh.reachable(client, 'users', { attachments: { user: 'ada' } });
    await mesh.reachable(client, 'plain');
  });
  afterAll(() => mesh.close());

  const ask = async (attachments: Record<string, string>): Promise<Seen> => {
    const { body } = await client.call('users', 'info', '', { attachments });
    return JSON.parse(body.toString()) as Seen;
  };

  it('sends requests to another group by what it reads in the header', async () => {
    expect(await ask({ user: 'ada' })).toMatchObject({ servedBy: 'canary', group: 'canary' });
    expect(await ask({ user: 'bob' })).toMatchObject({ servedBy: 'stable', group: 'stable' });
    expect(await ask({})).toMatchObject({ servedBy: 'stable', group: 'stable' });
  });

  it('sets an attachment that the server sees, and takes one away', async () => {
    expect(await ask({ user: 'bob', debug: '1', kept: 'zürich' })).toMatchObject({
      attachments: { user: 'bob', kept: 'zürich', 'chosen-by': 'canary filter' },
    });
    expect((await ask({ debug: '1' })).attachments).not.toHaveProperty('debug');
  });

  it('leaves the body alone, also where the header grew', async () => {
    const body = Buffer.alloc(65_536, 'body');
    expect((await client.call('users', 'echo', body)).body.equals(body)).toBe(true);
  });

  it('rejects with a status; the request has not run', async () => {
    await expect(
      client.call('users', 'info', '', { attachments: { tenant: 'suspended' } }),
    ).rejects.toMatchObject({
      status: 'PERMISSION_DENIED',
      message: 'the tenant of client is suspended',
      mayHaveRun: false,
    });
  });

  it('is asked about the requests of its services and direction only', async () => {
    const visits = async (agent: AgentProcess): Promise<number> =>
      (await agent.counters())['filter_upcalls'] ?? 0;
    const before = await visits(near);
    for (let i = 0; i < 25; i++) await client.call('plain', 'echo', 'x');
    expect(await visits(near)).toBe(before);
    for (let i = 0; i < 25; i++) await client.call('users', 'echo', 'x');
    expect(await visits(near)).toBe(before + 25);
    expect(await visits(far)).toBe(0);
    const marked = (await near.flows()).filter(({ flags }) => flags.includes('filter'));
    expect(new Set(marked.map(({ service }) => service))).toEqual(new Set(['users']));
  });
});

describe('an inbound filter', () => {
  it('looks at the requests that come to its own apps', async () => {
    const mesh = new Mesh();
    try {
      const module = join(mesh.directory, 'stamp.mjs');
      writeFileSync(
        module,
        `const onRequest = ({ direction, attachments }) => ({ attachments: { stamped: direction + ' ' + (attachments.from ?? '') } });
         export { stamp as default }; const stamp = { name: 'stamp', directions: ['inbound'], onRequest };`,
      );
      const [near, far] = await Promise.all([
        mesh.agent('near'),
        mesh.agent('far', { filters: [{ module, services: ['*'] }] }),
      ]);
      await mesh.server('server', far, { service: 'users' });
      const client = await mesh.client('client', near);
      await mesh.reachable(client, 'users');
      const { body } = await client.call('users', 'info', '', { attachments: { from: 'here' } });
      expect(JSON.parse(body.toString())).toMatchObject({
        attachments: { from: 'here', stamped: 'inbound here' },
      });
      expect((await near.counters())['filter_upcalls']).toBe(0);
    } finally {
      await mesh.close();
    }
  });
});

describe('a broken filter', () => {
  const mesh = new Mesh();
  let near: AgentProcess;
  let client: AppProcess;
  let server: AppProcess;

  beforeAll(async () => {
    near = await mesh.agent('near', { filters: [{ module: awkward, services: ['odd'] }] });
    [client, server] = await Promise.all([
      mesh.client('client', near),
      mesh.server('server', near, { service: 'odd', anyMethod: true }),
      mesh.server('other', near, { service: 'other' }),
    ]);
    await mesh.reachable(client, 'odd');
    await mesh.reachable(client, 'other');
  });
  afterAll(() => mesh.close());

  it.each([
    ['throw', 'filter awkward failed: the filter fell over'],
    ['reject-promise', 'filter awkward failed: the filter fell over later'],
    ['unknown-status', 'filter awkward failed: '],
    ['status-ok', 'filter awkward failed: '],
    ['no-message', 'filter awkward failed: '],
    ['wrong-attachment', 'filter awkward failed: '],
    ['wrong-route', 'filter awkward failed: '],
    ['huge-attachment', 'filter awkward failed: '],
    ['wrong-answer', 'filter awkward failed: '],
  ])('that does "%s" fails its request as INTERNAL, which has not run', async (method, text) => {
    const outcome: unknown = await client.call('odd', method).catch((error: unknown) => error);
    expect(outcome).toMatchObject({ status: 'INTERNAL', mayHaveRun: false });
    expect((outcome as Error).message).toContain(text);
    // The agent is as well as before, for this service and for others.
    expect((await client.call('odd', 'who')).body.toString()).toBe('server');
    expect((await client.call('other', 'who')).body.toString()).toBe('other');
  });

  it('whose message is endless has it cut', async () => {
    const outcome = (await client.call('odd', 'long-message').catch((error: unknown) => error)) as Error;
    expect(outcome).toMatchObject({ status: 'ABORTED', mayHaveRun: false });
    expect(outcome.message).toMatch(/^long long /);
    expect(outcome.message.length).toBeLessThan(2_000);
  });

  it('that never answers holds its request to the deadline and no longer', async () => {
    await expect(client.call('odd', 'never', '', { timeoutMs: 200 })).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
    });
    await near.quiet();
    expect((await client.call('odd', 'who')).body.toString()).toBe('server');
    expect(server.events.filter(({ event }) => event === 'started')).toEqual([]);
  });

  it('that is still thinking when its caller is killed is forgotten', async () => {
    const doomed = await mesh.client('doomed', near);
    const lost = expect(doomed.call('odd', 'never', '', { timeoutMs: 30_000 })).rejects.toThrow();
    const waiting = async (): Promise<boolean> => (await near.limit('parked')).used > 0;
    await expect.poll(waiting, { timeout: 10_000 }).toBe(true);
    await doomed.process.end('SIGKILL');
    await lost;
    await near.quiet();
  });
});

describe('a module that is no filter', () => {
  const mesh = new Mesh();
  afterAll(() => mesh.close());
  const modules: [string, string, string][] = [
    ['is missing', '', 'does not load'],
    ['has an error in it', 'export const = 1;', 'does not load'],
    ['throws while it loads', 'throw new Error("not today");', 'not today'],
    ['exports nothing', 'export const name = "x";', 'its default export must be an object'],
    ['has no onRequest', 'const x = { name: "x" }; export { x as default };', 'onRequest'],
  ];

  it.each(modules)('that %s keeps the agent from starting, and it says which', async (name, source, text) => {
    const module = join(mesh.directory, `${name.replaceAll(' ', '-')}.mjs`);
    if (source !== '') writeFileSync(module, source);
    const agent = mesh.launch(`agent that ${name}`, { filters: [{ module }] });
    expect(await agent.process.over()).toEqual({ code: 1, signal: null });
    expect(agent.process.stderr).toContain(`the agent cannot start: filter ${module}`);
    expect(agent.process.stderr).toContain(text);
  });

  it('is refused in a reload, and what was in force stays', async () => {
    const home = join(mesh.directory, 'reloaded');
    mkdirSync(home, { recursive: true });
    const good = join(home, 'good.mjs');
    const bad = join(home, 'bad.mjs');
    const filter = `const f = { name: 'good', onRequest: () => ({ reject: { status: 'ABORTED', message: 'good was here' } }) };`;
    writeFileSync(good, `${filter} export { f as default };`);
    writeFileSync(bad, 'export const = 1;');
    const agent = await mesh.agent('reloaded', { filters: [{ module: good }] });
    const client = await mesh.client('client', agent);
    await expect(client.call('any', 'thing')).rejects.toMatchObject({ message: 'good was here' });
    const config = JSON.parse(readFileSync(agent.configFile, 'utf8')) as AgentConfig;

    writeFileSync(agent.configFile, JSON.stringify({ ...config, filters: [{ module: bad }] }));
    const refusal = await agent.logged('a refused reload', ({ msg }) => msg.includes('was refused'));
    expect(refusal['error']).toContain(bad);
    await expect(client.call('any', 'thing')).rejects.toMatchObject({ message: 'good was here' });

    // Without filters: the next request goes its ordinary way.
    writeFileSync(agent.configFile, JSON.stringify({ ...config, filters: [] }));
    await agent.logged('a reload', ({ msg, fields }) => {
      return msg === 'the configuration was reloaded' && String(fields) === 'filters';
    });
    await expect(client.call('any', 'thing')).rejects.toMatchObject({
      status: 'UNAVAILABLE',
      mayHaveRun: false,
    });
  });
});
