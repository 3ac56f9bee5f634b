// What a large registry on Redis costs: 1,000 services with 20 instances each, held by one reader. Prints one JSON object: start-up time, and
// bytes that Redis sent and received for each change and for each comparison of versions. Run by hand:
// `npx tsc -p bench` builds it, `node build-bench/micro/registry-scale.js redis://127.0.0.1:6379` runs it on an empty Redis.
import { Redis } from 'ioredis';
import { parseRedisUrl } from '../../dist/base/redis-url.js';
import type { Instance } from '../../dist/registry/instance.js';
import { openRedisRegistry } from '../../dist/registry/redis/redis-registry.js';
import type { RedisRegistry } from '../../dist/registry/redis/redis-registry.js';

const services = 1_000;
const instancesEach = 20;
const changes = 500;
const sweeps = 5;
const sweepMs = 2_000;

const url = process.argv[2] ?? 'redis://127.0.0.1:6379';
const redis = new Redis(url);

async function traffic(): Promise<{ received: number; sent: number; cpuMs: number }> {
  const stats = await redis.info('stats');
  const cpu = await redis.info('cpu');
  const value = (text: string, name: string): number =>
    Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1]);
  return {
    received: value(stats, 'total_net_input_bytes'),
    sent: value(stats, 'total_net_output_bytes'),
    cpuMs: 1000 * (value(cpu, 'used_cpu_user') + value(cpu, 'used_cpu_sys')),
  };
}

function open(readSweepMs: number): Promise<RedisRegistry> {
  const address = parseRedisUrl(url);
  if ('wrong' in address) throw new Error(address.wrong);
  return openRedisRegistry({
    ...{ address, prefix: 'bench', timeoutMs: 10_000, leaseMs: 600_000, sweepMs: readSweepMs },
    ...{ protection: { share: 0.5, holdMs: 60_000 }, cacheFile: null },
    ...{ maxInstances: 100_000, maxServices: services },
    onProblem: (problem) => problem !== null && process.stderr.write(`${problem}\n`),
  });
}

const instanceOf = (service: number, i: number): Instance => ({
  ...{
    id: `00000000-0000-4000-8000-${String(service * 1_000 + i).padStart(12, '0')}`,
    service: `service-${service}`,
  },
  ...{ group: '', version: '1.0', host: '10.0.0.1', port: 15_101, weight: 100, zone: 'east', app: 'bench' },
  ...{ protocols: ['mesh/1'], metadata: {}, epoch: 1 },
});

const owner = await open(60_000);
const registerMs = performance.now();
for (let service = 0; service < services; service++) {
  const some = Array.from({ length: instancesEach }, (_, i) => owner.register(instanceOf(service, i)));
  await Promise.all(some);
}
const registeredMs = performance.now() - registerMs;

const beforeStart = await traffic();
const cpuBefore = process.cpuUsage();
const startMs = performance.now();
const reader = await open(60_000);
const full = new Set<string>();
let told = 0;
let onTold = (): void => undefined;
await new Promise<void>((resolve) => {
  for (let service = 0; service < services; service++) {
    const name = `service-${service}`;
    reader.watch(name, undefined, (list) => {
      told += 1;
      onTold();
      if (list.length < instancesEach) return;
      full.add(name);
      if (full.size === services) resolve();
    });
  }
});
const startedMs = performance.now() - startMs;
const startCpu = process.cpuUsage(cpuBefore);
const afterStart = await traffic();

const latenciesMs: number[] = [];
for (let i = 0; i < changes; i++) {
  const before = told;
  const atMs = performance.now();
  const seen = new Promise<void>((resolve) => (onTold = () => told > before && resolve()));
  await owner.register(instanceOf(i, instancesEach));
  await seen;
  latenciesMs.push(performance.now() - atMs);
}
onTold = () => undefined;
const afterChanges = await traffic();
await reader.close();

const sweeper = await open(sweepMs);
for (let service = 0; service < services; service++)
  sweeper.watch(`service-${service}`, undefined, () => undefined);
await new Promise((resolve) => setTimeout(resolve, sweepMs));
const beforeSweeps = await traffic();
const sweepCpu = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, sweeps * sweepMs));
const sweptCpu = process.cpuUsage(sweepCpu);
const afterSweeps = await traffic();

latenciesMs.sort((a, b) => a - b);
const seconds = (sweeps * sweepMs) / 1000;
process.stdout.write(
  `${JSON.stringify(
    {
      instances: services * instancesEach,
      registerAllMs: Math.round(registeredMs),
      startUpMs: Math.round(startedMs),
      startUpCpuMs: Math.round((startCpu.user + startCpu.system) / 1000),
      startUpBytesFromRedis: afterStart.sent - beforeStart.sent,
      changeMedianMs: Number(latenciesMs[changes / 2]?.toFixed(1)),
      changeP99Ms: Number(latenciesMs[Math.floor(changes * 0.99)]?.toFixed(1)),
      bytesToRedisPerChange: Math.round((afterChanges.received - afterStart.received) / changes),
      bytesFromRedisPerChange: Math.round((afterChanges.sent - afterStart.sent) / changes),
      sweepBytesToRedisPerSecond: Math.round((afterSweeps.received - beforeSweeps.received) / seconds),
      sweepBytesFromRedisPerSecond: Math.round((afterSweeps.sent - beforeSweeps.sent) / seconds),
      sweepCpuPercent: Number(((sweptCpu.user + sweptCpu.system) / 10_000 / seconds).toFixed(1)),
      sweepRedisCpuPercent: Number(((afterSweeps.cpuMs - beforeSweeps.cpuMs) / 10 / seconds).toFixed(1)),
    },
    null,
    2,
  )}\n`,
);
process.exit(0);
