// Holds what a load's callers were told against what really ran, as the servers wrote it down.
import { expect } from 'vitest';
import type { AppProcess, LoadSummary } from './app-process.js';

/** Fails unless every answered call ran, no call ran twice, and none that is said not to have run has run. */
export function expectTruth(
  { sent, ok, failures }: LoadSummary,
  servers: readonly Pick<AppProcess, 'ran'>[],
): void {
  const ran = servers.flatMap((server) => server.ran());
  const distinct = new Set(ran);
  expect(ran.length, 'a request ran twice').toBe(distinct.size);
  expect(ok + failures.length).toBe(sent);
  const saidNot = failures.filter(({ mayHaveRun }) => !mayHaveRun);
  expect(saidNot.filter(({ id }) => distinct.has(id))).toEqual([]);
  // What ran is what was answered, and of the failed ones only such as may have run.
  const mayHave = new Set(failures.filter(({ mayHaveRun }) => mayHaveRun).map(({ id }) => id));
  expect(distinct.size).toBe(ok + [...mayHave].filter((id) => distinct.has(id)).length);
}

/** The failures of a load, counted by what was said; `{}` if there were none. */
export function failuresOf({ failures }: Pick<LoadSummary, 'failures'>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, message, mayHaveRun } of failures) {
    const said = `${status}: ${message} (${mayHaveRun ? 'may have run' : 'has not run'})`;
    counts[said] = (counts[said] ?? 0) + 1;
  }
  return counts;
}
