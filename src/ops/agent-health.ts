/** Looks at a running agent through its admin server, as src/ops/probation.ts needs it: does it answer, is it ready, how many requests failed so far. */
import { errorText } from '../base/errors.js';

/** Statuses that speak of the mesh or of a server in trouble; others are answers that an application chose. */
const FAILURES = [
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'INTERNAL',
  'DATA_LOSS',
  'UNKNOWN',
];

export interface HealthLook {
  /** What is wrong; undefined if it answers. */
  problem?: string;
  ready: boolean;
  /** Why it is not ready. */
  reasons: string[];
  /** Answered since the agent (not this process) began, and of those the ones that failed. */
  requests: number;
  failed: number;
}

/** One look, which takes `answerMs` at most. Never throws. */
export async function lookAtAgent(admin: string, answerMs: number): Promise<HealthLook> {
  const signal = AbortSignal.timeout(answerMs);
  const get = async (path: string, allowed: readonly number[]): Promise<string> => {
    // A connection kept for later would end with the process that is to be replaced.
    const response = await fetch(new URL(path, admin), { signal, headers: { connection: 'close' } });
    const text = await response.text();
    if (!allowed.includes(response.status)) throw new Error(`${path} answers ${response.status}`);
    return text;
  };
  try {
    const [ready, metrics] = await Promise.all([
      get('/ready', [200, 503]),
      get('/metrics', [200]),
      get('/live', [200]),
    ]);
    const { ok, reasons } = JSON.parse(ready) as { ok: boolean; reasons: string[] };
    return { ready: ok, reasons, ...countRequests(metrics) };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? ` (${errorText(error.cause)})` : '';
    return { problem: `${errorText(error)}${cause}`, ready: false, reasons: [], requests: 0, failed: 0 };
  }
}

/** Sums `ringside_requests_total` of a text in Prometheus' format. */
export function countRequests(metrics: string): { requests: number; failed: number } {
  let requests = 0;
  let failed = 0;
  for (const [, labels = '', value] of metrics.matchAll(/^ringside_requests_total\{(.*)\} (\d+)/gm)) {
    const count = Number(value);
    requests += count;
    const status = /(?:^|,)status="([A-Z_]+)"/.exec(labels)?.[1];
    if (status !== undefined && FAILURES.includes(status)) failed += count;
  }
  return { requests, failed };
}
