// The package as those see it who install it: plain JavaScript of both kinds of modules, and TypeScript that checks its types.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Mesh } from '../support/mesh.js';
import { RunningProcess } from '../support/running-process.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

/** A project that has the package in its node_modules. */
let project: string;
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'ringside-user-'));
  mkdirSync(join(project, 'node_modules', '@ringside'), { recursive: true });
  symlinkSync(root, join(project, 'node_modules', '@ringside', 'mesh'), 'dir');
  // The types of Node, which every user of TypeScript with Node has.
  const types = join(createRequire(import.meta.url).resolve('@types/node/package.json'), '..');
  mkdirSync(join(project, 'node_modules', '@types'));
  symlinkSync(types, join(project, 'node_modules', '@types', 'node'), 'dir');
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = join(project, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** A whole user of the API: serves, calls, sees a failure, closes. `load` brings the package in. */
const user = (load: string): string => `
${load}
async function main() {
  const way = { agent: process.argv[2], transport: 'shm' };
  const server = await serve({ ...way, service: 'greeter', methods: {
    hello: (request) => 'hello ' + request.body,
    refuse: () => { throw new MeshError('PERMISSION_DENIED', 'not today'); },
  } });
  const client = await connect({ ...way, app: 'user' });
  let reply;
  while (reply === undefined) {
    try { reply = await client.call('greeter', 'hello', 'Ada'); }
    catch (error) { if (error.mayHaveRun) throw error; }
  }
  const refusal = await client.call('greeter', 'refuse', '').catch((error) => error);
  console.log(client.transport, reply.body.toString(), refusal instanceof MeshError, refusal.code === Status.PERMISSION_DENIED);
  await client.close();
  await server.close();
}
main();
`;

describe('plain JavaScript', () => {
  const mesh = new Mesh();
  afterAll(() => mesh.close());

  it.each([
    ['require', 'user.cjs', `const { MeshError, Status, connect, serve } = require('@ringside/mesh');`],
    ['import', 'user.mjs', `import { MeshError, Status, connect, serve } from '@ringside/mesh';`],
    [
      'import()',
      'dynamic.cjs',
      `let MeshError, Status, connect, serve; const loaded = import('@ringside/mesh').then((m) => ({ MeshError, Status, connect, serve } = m));`,
    ],
  ])('%s works through a real agent', async (how, name, load) => {
    const agent = await mesh.agent(`agent-${name}`);
    const text =
      how === 'import()'
        ? user(load).replace('async function main() {', 'async function main() { await loaded;')
        : user(load);
    const run = new RunningProcess(name, write(name, text), [agent.socket]);
    expect(await run.over()).toEqual({ code: 0, signal: null });
    expect(run.stderr).toBe('');
    expect(run.stdout).toBe('shm hello Ada true true\n');
  });

  it('sees the public API and nothing else', () => {
    const keys = spawnSync(process.execPath, ['-p', `Object.keys(require('@ringside/mesh')).sort().join()`], {
      cwd: project,
      encoding: 'utf8',
    });
    expect(keys.stdout.trim().split(',')).toEqual([
      'Client',
      'MeshError',
      'Server',
      'Status',
      'connect',
      'protobufHandlers',
      'serve',
      'statusName',
    ]);
    const deep = spawnSync(process.execPath, ['-e', `require('@ringside/mesh/dist/sdk/link.js')`], {
      cwd: project,
      encoding: 'utf8',
    });
    expect(deep.status).toBe(1);
    expect(deep.stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });
});

const typed = `
const handler: Handler = async (request) => {
  const user: string | undefined = request.attachments?.['user'];
  if (user === undefined) throw new MeshError('INVALID_ARGUMENT', 'no user', { mayHaveRun: false });
  request.signal.throwIfAborted();
  return { body: request.body, attachments: { seen: String(request.timeoutMs) } };
};
const options: ServeOptions = { service: 'users', methods: { get: handler }, group: 'blue', weight: 50 };
export async function main(): Promise<StatusName> {
  const server: Server = await serve(options);
  const client: Client = await connect({ app: 'shop', timeoutMs: 500 });
  client.on('transport', (transport: TransportName) => console.log(transport));
  try {
    const reply: Reply = await client.call('users', 'get', Buffer.from('x'), { hashKey: '7', signal: AbortSignal.timeout(9) });
    const body: Buffer = reply.body;
    await server.client.send('audit', 'log', body.toString());
    return statusName(Status.OK);
  } catch (error) {
    return error instanceof MeshError && error.retryable && !error.mayHaveRun ? error.status : 'UNKNOWN';
  } finally {
    await Promise.all([client.close(), server.close()]);
  }
}
export const filter: RequestFilter = {
  name: 'canary',
  directions: ['outbound'],
  onRequest: ({ attachments }) => (attachments['user'] === '7' ? { route: { group: 'canary' } } : undefined),
};
export function mistakes(client: Client): void {
  // @ts-expect-error a body is bytes or text
  void client.call('users', 'get', { id: 7 });
  // @ts-expect-error no such transport
  void connect({ transport: 'pigeon' });
  // @ts-expect-error no such status
  throw new MeshError('NO_SUCH_STATUS', 'x');
  // @ts-expect-error OK is no failure
  filter.onRequest = () => ({ reject: { status: 'OK', message: 'x' } });
}
`;
const values = ['MeshError', 'Status', 'connect', 'serve', 'statusName'];
const types = [
  'Client',
  'Handler',
  'Reply',
  'RequestFilter',
  'ServeOptions',
  'Server',
  'StatusName',
  'TransportName',
];

describe('TypeScript', () => {
  it('accepts right use and refuses wrong use, in both kinds of modules, and the example of a filter', () => {
    const names = [...values, ...types.map((name) => `type ${name}`)].join(', ');
    write('types/esm.mts', `import { ${names} } from '@ringside/mesh';\n${typed}`);
    write('types/cjs.cts', `import { ${names} } from '@ringside/mesh';\n${typed}`);
    const compilerOptions = {
      ...{ module: 'nodenext', target: 'es2022', strict: true, noEmit: true, skipLibCheck: false },
      ...{ types: ['node'], exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
      ...{ allowJs: true, checkJs: true },
    };
    const include = ['esm.mts', 'cjs.cts', join(root, 'examples/filter/*.mjs')];
    const config = write('types/tsconfig.json', JSON.stringify({ compilerOptions, include }));
    const check = spawnSync(process.execPath, [tsc, '-p', config], { encoding: 'utf8' });
    expect(check.stdout).toBe('');
    expect(check.status).toBe(0);
  });
});
