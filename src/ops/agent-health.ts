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
  /** Trouble with its registry, each behind its source and a colon; it may be ready all the same. */
  trouble: string[];
  /** Answered since the agent (not this process) began, and of those the ones that failed. */
  requests: number;
  failed: number;
}

/** Older builds know no warnings: they are not ready while the registry is in trouble. */
interface ReadyBody {
  ok: boolean;
  reasons: string[];
  warnings?: string[];
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
    const { ok, reasons, warnings } = JSON.parse(ready) as ReadyBody;
    const trouble = [...reasons, ...(warnings ?? [])].filter((text) => text.startsWith('registry'));
    return { ready: ok, reasons, trouble, ...countRequests(metrics) };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? ` (${errorText(error.cause)})` : '';
    return {
      problem: `${errorText(error)}${cause}`,
      ready: false,
      reasons: [],
      trouble: [],
      requests: 0,
      failed: 0,
    };
  }
}

/** What is wrong with a process, or with its registry and was not so before it took over; undefined if nothing is. */
export function whyUnwell(look: HealthLook, before: HealthLook | undefined): string | undefined {
  if (look.problem !== undefined) return look.problem;
  // What never was ready need not be.
  if (before === undefined || (!before.ready && before.trouble.length === 0)) return undefined;
  const reasons = look.reasons.filter((text) => !look.trouble.includes(text));
  if (!look.ready && reasons.length > 0) return `not ready: ${reasons.join('; ')}`;
  const begun = look.trouble.filter((text) => !before.trouble.some((old) => isSameTrouble(text, old)));
  if (begun.length === 0) return undefined;
  return `${look.ready ? 'in trouble that was not there before' : 'not ready'}: ${begun.join('; ')}`;
}

/** By its source. An older build names none, and a registry that never answered cannot be told from one that no longer does. */
function isSameTrouble(one: string, other: string): boolean {
  const sources = [one, other].map((text) => text.split(':', 1)[0]!);
  if (sources[0] === sources[1] || sources.includes('registry')) return true;
  return sources.every((source) => noAnswer.includes(source));
}
const noAnswer = ['registry unread', 'registry redis', 'registry directory'];

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
