// A takeover of an agent with thousands of services, published through it and watched by it. Its cost, and that of looking at such an agent, grows
// with their number and not with its square; no call fails meanwhile, and applications go on publishing. What is compared is the time
// that the new process had a core until it was ready, within one run: a busy machine changes it little.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { commandLine } from '../support/agent-process.js';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { cpuMs } from '../support/proc-facts.js';
import { hasRedis, RedisProcess } from '../support/redis-process.js';
import { RunningProcess } from '../support/running-process.js';
import { failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

const few = 1_000;
const many = 5_000;
/** Five times as many services; a cost that grew with their square would be twenty-five times as much. */
const timesAsMuch = 6;
/** Until thousands have published on a machine that is busy. */
const publishedMs = 120_000;
const most = 8_192;
const config: AgentConfig = {
  limits: {
    ...{ services: most, publications: most, links: most, linksPerUid: most, linksPerAddress: most },
    upcallsPerSecondPerLink: 100_000,
  },
};
const manyServices = fileURLToPath(new URL('../support/apps/many-services.mjs', import.meta.url));
const tellCpu = `data:text/javascript,${encodeURIComponent(
  'process.on("exit", () => { const { user, system } = process.cpuUsage(); process.stderr.write(`cpu ${user + system}`); })',
)}`;

interface Costs {
  takeoverCpuMs: number;
  takeoverMs: number;
  statusCpuMs: number;
}

let redis: RedisProcess | undefined;
/** Those that a failed test has left. */
const meshes: Mesh[] = [];
afterEach(async () => {
  await Promise.allSettled(meshes.splice(0).map((mesh) => mesh.close()));
  await redis?.close();
  redis = undefined;
});

/** What it costs to look at an agent. */
async function statusCpuMs({ adminUrl }: AgentProcess): Promise<number> {
  const args = ['--import', tellCpu, commandLine, 'status', '--admin', adminUrl];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  expect(code, said).toBe(0);
  return Number(/cpu (\d+)$/.exec(said)?.[1]) / 1_000;
}

/** Those of an agent through which so many services are published, and that watches them: taken over once while calls go on and an application publishes and leaves again and again. */
async function costsOf(count: number, registry: AgentConfig): Promise<Costs> {
  const mesh = new Mesh();
  meshes.push(mesh);
  const found = await costsIn(mesh, count, { ...config, ...registry });
  await mesh.close();
  meshes.pop();
  return found;
}

async function costsIn(mesh: Mesh, count: number, config: AgentConfig): Promise<Costs> {
  const near = await mesh.agent('near', config);
  const far = await mesh.agent('far', config);
  const services = new RunningProcess('services', manyServices, [near.socket, String(count)]);
  let published = false;
  services.onMessage(() => (published = true));
  await until(`${count} services to be published`, () => published, publishedMs);
  const names = Array.from({ length: count }, (_, i) => `service-${i}`);
  const load = { method: 'echo', callOptions: { timeoutMs: 20_000 } };

  const beside = await mesh.client('beside', near);
  await beside.startLoad({ ...load, services: names, inFlight: 50, total: count, prefix: 'watch-' });
  const watching = await beside.endLoad('watch-', false);
  expect(failuresOf(watching)).toEqual({});
  const caller = await mesh.client('caller', far);
  const called = names.filter((_, i) => i % (count / 100) === 0);
  for (const service of called.slice(0, 10)) await answers(caller, service);
  await caller.startLoad({ ...load, services: called.slice(0, 10), inFlight: 4, pauseMs: 5, prefix: 'on-' });
  const publisher = await mesh.app('publisher');
  let on = true;
  const publishing = (async () => {
    for (let i = 0; on; i++) {
      await publisher.serve({ ...wayTo(near, 'unix'), service: `late-${i % 5}` }, 'late');
      await publisher.closeServer('late');
    }
  })();

  const beganMs = performance.now();
  const next = mesh.successor(near);
  await next.ready();
  const takeoverMs = performance.now() - beganMs;
  const takeoverCpuMs = cpuMs(next.pid);
  expect(await near.process.over()).toEqual({ code: 0, signal: null });
  mesh.agents.splice(mesh.agents.indexOf(near), 1);
  const { ok } = await caller.loadSoFar('on-');
  await caller.reached('on-', ok + 100);
  on = false;
  await publishing;
  expect(failuresOf(await caller.endLoad('on-'))).toEqual({});
  expect((await next.get<{ registered: number }>('/registry')).registered).toBe(count);
  const found = { takeoverCpuMs, takeoverMs, statusCpuMs: await statusCpuMs(next) };
  await services.end();
  return found;
}

async function answers(client: AppProcess, service: string): Promise<void> {
  await until(`${service} to answer`, () =>
    client.call(service, 'echo', '').then(
      () => true,
      () => false,
    ),
  );
}

describe.each([
  { kind: 'embedded', possible: true },
  { kind: 'Redis', possible: hasRedis },
])('on the $kind registry', ({ kind, possible }) => {
  it.skipIf(!possible)(
    `the cost of a takeover of ${many} services is at most ${timesAsMuch} times that of ${few}, and no call fails`,
    { timeout: 600_000 },
    async () => {
      if (kind === 'Redis') redis = await RedisProcess.start();
      const store = redis === undefined ? {} : { type: 'redis', url: redis.url, timeoutMs: 10_000 };
      // On a machine that is busy a core is not to be had at once.
      const registry = { registry: { leaseMs: 60_000, sweepMs: 10_000, ...store } };
      const small = await costsOf(few, registry);
      const large = await costsOf(many, registry);
      console.log(`${kind}: ${few} services ${JSON.stringify(small)}, ${many} ${JSON.stringify(large)}`);
      expect(large.takeoverCpuMs).toBeLessThan(timesAsMuch * small.takeoverCpuMs);
      expect(large.statusCpuMs).toBeLessThan(timesAsMuch * small.statusCpuMs);
    },
  );
});
