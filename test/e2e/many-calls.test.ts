// A long run of calls of mixed size through two agents, over shared memory and over TCP at once: what agents and applications use of
// memory and descriptors in its last tenth is what they used in its second. RINGSIDE_CALLS says how many calls (.ci/run makes a
// million). Of the resident memory the floor counts, the least within a tenth: a heap is larger than it has to be until its
// collector looks, and a leak raises the floor. V8 and malloc keep what a busy moment took, whenever that comes; so a heavier load
// goes first, both are kept from it in the applications, and each tenth ends with collections at rest. What heaps hold after a collection
// may not grow.
import { expect, it } from 'vitest';
import { wayTo } from '../support/app-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { anonymousBytes, fdCount } from '../support/proc-facts.js';
import { failuresOf } from '../support/truth.js';

const calls = Number(process.env['RINGSIDE_CALLS'] ?? 100_000);
const tenths = 10;
const sampleEveryMs = 20;
const atMostTimes = 1.05;
/** Of an application. Else V8 lets its young generation grow for hours, and malloc learns to keep large buffers that were freed. */
const steadyHeap = {
  env: {
    NODE_OPTIONS: '--max-semi-space-size=2',
    MALLOC_MMAP_THRESHOLD_: '65536',
    MALLOC_TRIM_THRESHOLD_: '65536',
  },
};
/** At the end of each tenth: V8 gives the memory of buffers back on a thread of its own. */
const collections = 5;
/** An object that is forgotten in each call would take many times that. */
const heapMayDifferBytes = 1 << 20;

/** Bytes of a hundred bodies in turn; the largest travels in pieces. */
const mixedSizes = Array.from({ length: 100 }, (_, i) => {
  if (i === 99) return 150_000;
  if (i % 20 === 19) return 16_000;
  if (i % 5 === 4) return 2_000;
  return i % 2 === 0 ? 20 : 200;
});
const heavy = { total: 2_000, inFlight: 40, bodySizes: [150_000, 60_000, 16_000] };

/** What a process used at least. */
interface Floor {
  anonymousBytes: number;
  fds: number;
}

async function floorsDuring(
  pids: readonly number[],
  work: Promise<unknown>,
  collect: () => Promise<unknown>,
): Promise<Floor[]> {
  const floors = pids.map((): Floor => ({ anonymousBytes: Infinity, fds: Infinity }));
  const look = (): void => {
    pids.forEach((pid, i) => {
      const floor = floors[i] as Floor;
      floor.anonymousBytes = Math.min(floor.anonymousBytes, anonymousBytes(pid));
      floor.fds = Math.min(floor.fds, fdCount(pid));
    });
  };
  const timer = setInterval(look, sampleEveryMs);
  try {
    await work;
    for (let i = 0; i < collections; i += 1) {
      await collect();
      look();
    }
  } finally {
    clearInterval(timer);
  }
  return floors;
}

interface Load {
  total: number;
  inFlight: number;
  bodySizes: readonly number[];
}

/** Each client makes these calls; all must be answered with what was sent. */
async function allAnswered(clients: readonly AppProcess[], prefix: string, load: Load): Promise<void> {
  await Promise.all(
    clients.map(async (client) => {
      const callOptions = { timeoutMs: 60_000 };
      await client.startLoad({ service: 's', method: 'echo', prefix, callOptions, ...load });
      const { ok, wrong, failures } = await client.endLoad(prefix, false);
      expect(failuresOf({ failures })).toEqual({});
      expect({ ok, wrong }).toEqual({ ok: load.total, wrong: 0 });
    }),
  );
}

function inMb(bytes: readonly number[]): string {
  return bytes.map((each) => (each / 2 ** 20).toFixed(1)).join(' ');
}

it(`${calls} calls leave memory and descriptors as they were`, { timeout: 120_000 + calls * 2 }, async () => {
  const mesh = new Mesh();
  try {
    const [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
    const [overShm, overTcp, server] = await Promise.all([
      mesh.app('client over shared memory', steadyHeap),
      mesh.app('client over tcp', steadyHeap),
      mesh.app('server', steadyHeap),
    ]);
    await Promise.all([
      overShm.connect(wayTo(near, 'shm')),
      overTcp.connect(wayTo(near, 'tcp')),
      server.serve({ ...wayTo(far, 'shm'), service: 's' }),
    ]);
    const clients = [overShm, overTcp];
    const apps = [...clients, server];
    const processes = [near, far, ...apps];
    for (const client of clients) await mesh.reachable(client, 's');
    await allAnswered(clients, 'heavy-', heavy);

    const floors: Floor[][] = [];
    const heaps: number[][] = [];
    const load = { total: calls / tenths / clients.length, inFlight: 32, bodySizes: mixedSizes };
    for (let i = 0; i < tenths; i += 1) {
      const pids = processes.map(({ pid }) => pid);
      let heap: number[] = [];
      const collect = async (): Promise<void> => {
        heap = await Promise.all(apps.map((app) => app.collectedHeapBytes()));
      };
      floors.push(await floorsDuring(pids, allAnswered(clients, `${i}-`, load), collect));
      heaps.push(heap);
    }
    const used = processes.map(({ name }, i) => ({
      name,
      anonymous: floors.map((each) => (each[i] as Floor).anonymousBytes),
      fds: floors.map((each) => (each[i] as Floor).fds),
    }));
    const kept = apps.map(({ name }, i) => ({ name, heap: heaps.map((each) => each[i] as number) }));
    for (const { name, anonymous, fds } of used)
      console.log(`${name}: RssAnon at least ${inMb(anonymous)} MB, descriptors ${fds.join(' ')}`);
    for (const { name, heap } of kept) console.log(`${name}: heap in use ${inMb(heap)} MB`);

    const last = tenths - 1;
    for (const { name, anonymous, fds } of used) {
      expect(fds[last], `descriptors of ${name}`).toBe(fds[1]);
      expect(anonymous[last], `memory of ${name}`).toBeLessThanOrEqual(
        (anonymous[1] as number) * atMostTimes,
      );
    }
    for (const { name, heap } of kept)
      expect(heap[last], `heap of ${name}`).toBeLessThan((heap[1] as number) + heapMayDifferBytes);
    await Promise.all([near.quiet(), far.quiet()]);
  } finally {
    await mesh.close();
  }
});
