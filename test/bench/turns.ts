// Turns of a benchmark with known latencies, for the tests of what is made of them.
import type { TurnData } from '../../bench/measure/figures.js';
import { Histogram } from '../../bench/measure/histogram.js';

/** One turn whose requests took `latenciesUs` from the send, and `lateUs` more from the intended moment. */
export function turn(
  path: string,
  latenciesUs: readonly number[],
  { lateUs = 0, seconds = 1, errors = 0 } = {},
): TurnData {
  const [fromSend, fromIntended, lateness] = [new Histogram(), new Histogram(), new Histogram()];
  for (const us of latenciesUs) {
    fromSend.record(us);
    fromIntended.record(us + lateUs);
    lateness.record(lateUs);
  }
  return {
    path,
    load: {
      requests: latenciesUs.length + errors,
      errors,
      ...(errors > 0 ? { firstError: 'no way' } : {}),
      elapsedSeconds: seconds,
      fromSend: fromSend.data(),
      ...(lateUs > 0 ? { fromIntended: fromIntended.data(), lateness: lateness.data() } : {}),
      overTime: [],
    },
    between: { cpuUs: 40 * latenciesUs.length, wakeups: 4 * latenciesUs.length },
    applications: { cpuUs: 60 * latenciesUs.length, wakeups: 2 * latenciesUs.length },
    memory: { anonBytes: 2 ** 20, shmemBytes: 2 ** 21 },
  };
}
