/** Watches a version that has just taken over, for as long as its probation lasts. */
import { setTimeout as pause } from 'node:timers/promises';
import { Probation } from '../policy/probation.js';
import type { AgentRun } from './agent-run.js';
import { lookAtAgent, whyUnwell } from './agent-health.js';
import type { HealthLook } from './agent-health.js';
import type { OpsConfig } from './config.js';

export interface ProbationOptions {
  bounds: OpsConfig['probation'];
  /** Where its admin server answers; null: only the process is watched. */
  admin: () => string | null;
  /** What was seen of the version before; undefined if nothing is known of it. */
  before: HealthLook | undefined;
  signal: AbortSignal;
}

/**
 * @returns why it has failed, or undefined if it passed
 * @throws when it was called off
 */
export async function watchProbation(run: AgentRun, options: ProbationOptions): Promise<string | undefined> {
  const { bounds, admin, before, signal } = options;
  const probation = new Probation(bounds);
  const untilMs = performance.now() + bounds.seconds * 1000;
  const over = new AbortController();
  void run.ended.then(() => over.abort());
  for (;;) {
    if (run.ending !== undefined) return `the process ${run.describeEnd()}`;
    const url = admin();
    let isWell = true;
    if (url !== null) {
      const look = await lookAtAgent(url, bounds.answerMs);
      const unwell = whyUnwell(look, before);
      isWell = unwell === undefined;
      const { requests, failed: failedRequests } = look;
      const failed = probation.judge({
        requests,
        failed: failedRequests,
        ...(unwell === undefined ? {} : { problem: unwell }),
      });
      signal.throwIfAborted();
      if (failed !== undefined && run.ending === undefined) return failed;
    }
    const leftMs = untilMs - performance.now();
    // One that is unwell at the end is looked at until it is well or has failed.
    if (leftMs <= 0 && isWell && run.ending === undefined) return undefined;
    await pause(leftMs > 0 ? Math.min(bounds.everyMs, leftMs) : bounds.everyMs, undefined, {
      signal: AbortSignal.any([signal, over.signal]),
    }).catch(() => signal.throwIfAborted());
  }
}
