// An ops agent whose directory is on a disk that is full: nothing is begun, what goes on goes on, and what has happened is written down when there is
// room. The agent that it keeps notices nothing.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KeptMesh } from '../support/kept-mesh.js';
import type { OpsProcess, Problem } from '../support/ops-process.js';
import { fillDisk, mountProblem, mountTmpfs } from '../support/small-disk.js';
import { until } from '../support/until.js';
import { archiveOf } from '../support/version-archive.js';

if (mountProblem !== undefined) console.warn(`SKIPPED: ops agents on a full disk: ${mountProblem}`);

let mesh: KeptMesh;
let ops: OpsProcess;
let disk: string;
beforeEach(async () => {
  mesh = new KeptMesh();
  disk = join(mesh.directory, 'kept', 'ops');
  mkdirSync(disk, { recursive: true });
  if (mountProblem === undefined) mesh.undo.push(mountTmpfs(disk, 'size=512k,mode=0700'));
  ops = await mesh.keep('kept', { probation: { seconds: 2 } });
});
afterEach(() => mesh.close());

it.skipIf(mountProblem !== undefined)('begins nothing, and says why; with room enough it does', async () => {
  const { agent } = await ops.status();
  const archive = await archiveOf(mesh.directory, 'v2');
  const large = await archiveOf(mesh.directory, 'large', `// ${randomBytes(100_000).toString('hex')}`);
  let makeRoom = fillDisk(disk);
  const refused = await ops.ask<Problem>('POST', '/v1/upgrade', archive);
  expect(refused).toMatchObject({
    statusCode: 500,
    answer: { detail: expect.stringContaining('ENOSPC') as string },
  });
  makeRoom();

  makeRoom = fillDisk(disk, 64 * 1024);
  expect(await ops.outcome(large)).toMatchObject({
    step: 'failed',
    detail: expect.stringMatching(/the download failed: ENOSPC/) as string,
  });
  expect(readdirSync(join(disk, 'versions'))).toEqual([]);
  expect(await ops.running()).toMatchObject({ current: 'built-in', agent });
  makeRoom();
  expect(await ops.outcome(archive)).toMatchObject({ step: 'done' });
});

it.skipIf(mountProblem !== undefined)(
  'ends what has begun, restarts what crashes, and catches up',
  async () => {
    await ops.upgrade(await archiveOf(mesh.directory, 'v2'));
    await ops.step('probation');
    const makeRoom = fillDisk(disk);
    expect(await ops.over()).toMatchObject({ step: 'done', version: 'v2' });
    expect(ops.state).toMatchObject({ job: { version: 'v2', step: 'probation' } });
    const { agent } = await ops.running();
    process.kill(agent.pid as number, 'SIGKILL');
    const again = await until('another process', async () => {
      const status = await ops.status();
      return status.agent.state === 'running' && status.agent.pid !== agent.pid ? status : undefined;
    });
    makeRoom();
    await until('all to be written down', () => ops.state.job === null);
    expect(ops.state).toMatchObject({ current: 'v2', agent: { process: { pid: again.agent.pid } } });
    expect(again).toMatchObject({ current: 'v2', previous: 'built-in' });
  },
);
