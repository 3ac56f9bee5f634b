// The scenarios: what is sent on which paths, how often and for how long. What each must show is in measure/bars.ts.
import type { LoadPlan } from '../load/messages.js';
import { pathNames } from '../paths/paths.js';
import type { PathName } from '../paths/paths.js';

/** One kind of load within a scenario. */
export interface Variant {
  name: string;
  pace: LoadPlan['pace'];
  bodyBytes: number;
}

export interface Scenario {
  name: string;
  description: string;
  paths: readonly PathName[];
  rounds: number;
  /** Of each path, in each round. */
  seconds: number;
  /** The first stands for the scenario. */
  variants: readonly Variant[];
  /** The pace is this share of the lowest throughput that these paths reach with 64 calls in flight, measured first. */
  paceFromSaturation?: { share: number; of: readonly PathName[] };
  /** Memory is looked at every second. */
  watchesMemory?: boolean;
}

const kib = 1024;
const mib = 1024 * kib;
export const saturationInFlight = 64;
const throughProxies = pathNames.filter((path) => !path.endsWith('-direct'));

export const scenarios: readonly Scenario[] = [
  {
    name: 'standard',
    description: '1,000 requests per second of 1 KB, open loop',
    paths: pathNames,
    rounds: 7,
    seconds: 4,
    variants: [{ name: '1 KB', pace: { ratePerSecond: 1000 }, bodyBytes: kib }],
  },
  {
    name: 'serial',
    description: 'one request of 1 KB after the other',
    paths: throughProxies,
    rounds: 7,
    seconds: 3,
    variants: [{ name: '1 KB', pace: { inFlight: 1 }, bodyBytes: kib }],
  },
  {
    name: 'saturate',
    description: '64 requests of 1 KB always in flight',
    paths: throughProxies,
    rounds: 7,
    seconds: 3,
    variants: [{ name: '1 KB', pace: { inFlight: saturationInFlight }, bodyBytes: kib }],
  },
  {
    name: 'large',
    description: 'one large request after the other',
    paths: ['raw', 'direct', 'haproxy', 'tcp', 'unix', 'shm'],
    rounds: 5,
    seconds: 2,
    variants: [
      { name: '1 MB', pace: { inFlight: 1 }, bodyBytes: mib },
      { name: '64 KB', pace: { inFlight: 1 }, bodyBytes: 64 * kib },
      { name: '4 MB', pace: { inFlight: 1 }, bodyBytes: 4 * mib },
    ],
  },
  {
    name: 'pressure',
    description: 'open loop at 80% of what the slower of tcp and shm can take, 1 KB',
    paths: ['direct', 'haproxy', 'tcp', 'shm'],
    rounds: 7,
    seconds: 4,
    variants: [{ name: '1 KB', pace: { ratePerSecond: 1 }, bodyBytes: kib }],
    paceFromSaturation: { share: 0.8, of: ['tcp', 'shm'] },
  },
  {
    name: 'mainstream',
    description: 'what services in Node do without a mesh, 1,000 requests per second of 1 KB, open loop',
    paths: ['raw', 'direct', 'shm', 'grpc-direct', 'http-direct'],
    rounds: 5,
    seconds: 4,
    variants: [{ name: '1 KB', pace: { ratePerSecond: 1000 }, bodyBytes: kib }],
  },
  {
    name: 'soak',
    description: '5,000 requests per second of 1 KB for five minutes, open loop',
    paths: ['shm'],
    rounds: 1,
    seconds: 300,
    variants: [{ name: '1 KB', pace: { ratePerSecond: 5000 }, bodyBytes: kib }],
    watchesMemory: true,
  },
];
