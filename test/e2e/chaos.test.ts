// Processes that are killed or held at random moments under load: each agent, the server, its client. Calls that depend on the victim end with
// a status that tells the truth, all others go on as if nothing had happened, and everything comes back by itself, on shared memory, with
// nothing left behind. RINGSIDE_CHAOS_SEED and RINGSIDE_CHAOS_ROUNDS choose which run and how long; times are told, not judged.
import { expect, it } from 'vitest';
import type { LoadSummary } from '../support/app-process.js';
import { ChaosMesh, victims } from '../support/chaos-mesh.js';
import type { Path, Victim } from '../support/chaos-mesh.js';
import { numberFrom, RandomSource } from '../support/random-source.js';
import { expectTruth, failuresOf } from '../support/truth.js';
import { until } from '../support/until.js';

/**
 * What is done to a process: killed and started again; held until deadlines have passed and then let go; held for a moment; held
 * and then killed, so that its end comes to light late.
 */
const deeds = ['kill', 'hold', 'moment', 'hold and kill'] as const;
type Deed = (typeof deeds)[number];

const seed = numberFrom('RINGSIDE_CHAOS_SEED', Date.now() % 1_000_000);
const rounds = numberFrom('RINGSIDE_CHAOS_ROUNDS', victims.length * deeds.length);
const everyStrike = victims.flatMap((victim) => deeds.map((deed) => ({ victim, deed })));

const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);
const ms = (us: number): string => `${(us / 1000).toFixed(0)} ms`;

it(
  `processes are killed and held under load (RINGSIDE_CHAOS_SEED=${seed})`,
  async () => {
    const random = new RandomSource(seed);
    const chaos = await ChaosMesh.start();
    try {
      let strikes: typeof everyStrike = [];
      for (let round = 0; round < rounds; round++) {
        if (strikes.length === 0) strikes = random.shuffled(everyStrike);
        const { victim, deed } = strikes.pop() as (typeof everyStrike)[number];
        const told = `round ${round} of seed ${seed}: ${deed} ${victim}`;
        console.log(
          await oneRound(chaos, random, victim, deed, round).then(
            (figures) => `${told}: ${figures}`,
            (error: unknown) => {
              throw new Error(told, { cause: error });
            },
          ),
        );
      }
    } finally {
      await chaos.mesh.close();
    }
  },
  60_000 + rounds * 30_000,
);

async function oneRound(
  chaos: ChaosMesh,
  random: RandomSource,
  victim: Victim,
  deed: Deed,
  round: number,
): Promise<string> {
  const prefixOf = ({ name }: Path): string => `${round}-${name}-`;
  const bystanders = chaos.paths.filter(({ dependsOn }) => !dependsOn.includes(victim));
  // A killed caller has nothing more to say about its calls.
  const callerDies = victim === 'client' && deed.endsWith('kill');
  const affected = chaos.paths.filter(
    (path) => path.dependsOn.includes(victim) && !(callerDies && path.name === 'main'),
  );
  for (const path of chaos.paths) await chaos.startLoad(path, prefixOf(path));
  for (const path of chaos.paths) await path.caller().reached(prefixOf(path), 20);
  const [main] = chaos.paths as [Path];
  await main.caller().reached(prefixOf(main), 20 + random.below(1_000));

  const bystandersGoOn = (most: number): Promise<unknown> =>
    Promise.all(bystanders.map((path) => chaos.answers(path, prefixOf(path), 1 + random.below(most))));

  const struckUs = nowUs();
  if (deed !== 'kill') {
    chaos.hold(victim);
    await bystandersGoOn(100);
    if (deed !== 'moment') {
      if (victim !== 'client') await deadlinesPass(main, prefixOf(main));
      // At times longer than a lease, and than the silence that peers put up with.
      await bystandersGoOn(1_500);
    }
  }
  if (deed.endsWith('kill')) {
    await chaos.kill(victim);
    await bystandersGoOn(100);
    await chaos.bringBack(victim);
  } else chaos.letGo(victim);
  const backUs = nowUs();

  await chaos.onSharedMemory();
  const shmUs = nowUs();
  for (const path of [...affected, ...bystanders]) await chaos.answers(path, prefixOf(path), 50);
  const ended = new Map<Path, LoadSummary>();
  for (const path of [...affected, ...bystanders])
    ended.set(path, await path.caller().endLoad(prefixOf(path)));
  await chaos.settled();

  for (const [path, summary] of ended) {
    const ran = path
      .serving()
      .ran()
      .filter((id) => id.startsWith(prefixOf(path)));
    expectTruth(summary, [{ ran: () => ran }]);
    if (bystanders.includes(path)) {
      expect(failuresOf(summary), path.name).toEqual({});
    } else {
      const statuses = new Set(summary.failures.map(({ status }) => status));
      for (const status of statuses) expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain(status);
    }
  }
  await chaos.nothingLeft();

  const underWay = [...ended.values()]
    .flatMap(({ failures }) => failures)
    .filter(({ sentUs, endedUs }) => sentUs <= struckUs && endedUs >= struckUs);
  const last = underWay.reduce((latest, { endedUs }) => Math.max(latest, endedUs - struckUs), 0);
  const back = deed.endsWith('kill') ? `started again after ${ms(backUs - struckUs)}, ` : '';
  const slowest = Math.max(0, ...bystanders.map((path) => ended.get(path)?.slowestUs ?? 0));
  return (
    `${underWay.length} calls under way failed, the last after ${ms(last)}; ` +
    `${back}all on shared memory after ${ms(shmUs - struckUs)}; ` +
    `slowest call of a bystander ${ms(slowest)}`
  );
}

/** Waits until as many calls as are in flight have been given up by their callers. */
async function deadlinesPass({ caller, inFlight }: Path, prefix: string): Promise<void> {
  await until('the deadlines of the calls in flight to pass', async () => {
    const { failures } = await caller().loadSoFar(prefix);
    return failures.filter(({ status }) => status === 'DEADLINE_EXCEEDED').length >= inFlight;
  });
}
