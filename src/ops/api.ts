/**
 * What the ops agent's HTTP interface speaks (docs/ops.md): bodies of requests and answers, and the events of its progress stream. Used by the
 * server, by `ringside upgrade` and by `ringside rollout`.
 */
import { z } from 'zod';

/** The version that came with the ops agent itself; it cannot be downloaded over. */
export const BUILT_IN = 'built-in';

/** Names of versions become names of directories. */
export const versionName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/,
    'allowed: 1 to 100 letters, digits, ".", "_", "+", "-", not beginning with one of the signs',
  )
  .refine((name) => !/\.(partial|download|json)$/.test(name), 'allowed: no ending .partial, .download, .json')
  .refine((name) => name !== BUILT_IN, `allowed: another name than ${BUILT_IN}`);

/** Body of `POST /v1/upgrade`. */
export const upgradeRequest = z.strictObject({
  version: versionName,
  source: z
    .string()
    .max(4096)
    .refine(
      (text) => text.startsWith('/') || /^(file|https?):\/\/[^/]*\//.test(text),
      'allowed: an absolute path, or a file, http or https URL',
    ),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'allowed: 64 hexadecimal digits')
    .toLowerCase(),
  signature: z
    .base64('allowed: base64')
    .length(88, 'allowed: an ed25519 signature of 64 bytes in base64')
    .optional(),
});
export type UpgradeRequest = z.output<typeof upgradeRequest>;

/** Steps of a job, in their order; the last three end it. */
export const STEPS = [
  'downloading',
  'verifying',
  'unpacking',
  'checking',
  'starting',
  'handing over',
  'probation',
  'rolling back',
  'done',
  'failed',
  'rolled-back',
] as const;
export type Step = (typeof STEPS)[number];
export type Outcome = Extract<Step, 'done' | 'failed' | 'rolled-back'>;

export function isOutcome(step: Step): step is Outcome {
  return step === 'done' || step === 'failed' || step === 'rolled-back';
}

/** What a takeover moved, as the new agent tells it. */
export interface Handoff {
  /** From the last frame that the old process read to the first that the new one did, in microseconds. */
  freezeUs: number;
  links: number;
  pending: number;
  parked: number;
}

/** One event of `GET /v1/progress`, and the state of a job. */
export interface Progress {
  job: string;
  /** `adopt`: an agent that was started by hand is taken over. */
  kind: 'upgrade' | 'rollback' | 'adopt';
  version: string;
  step: Step;
  /** ISO 8601. */
  at: string;
  /** Why it failed or was rolled back, or what is waited for. */
  detail?: string;
  /** While downloading. */
  bytes?: number;
  /** Absent where the server does not say. */
  totalBytes?: number;
  /** From the probation on, if an agent was taken over from. */
  handoff?: Handoff;
}

export interface AgentStatus {
  state: 'running' | 'starting' | 'waiting' | 'stopped';
  pid: number | null;
  version: string;
  /** Crashes since the last one that was long ago (`agent.steadyMs`). */
  crashes: number;
  admin: string | null;
}

/** Answer of `GET /v1/status`. */
export interface OpsStatus {
  current: string;
  previous: string | null;
  agent: AgentStatus;
  /** What is under way. */
  job: Progress | null;
  /** How the last job ended. */
  last: Progress | null;
}

/** One entry of `GET /v1/versions`. */
export interface VersionView {
  version: string;
  /** Absent for the built-in version. */
  sha256?: string;
  source?: string;
  installedAt?: string;
  current: boolean;
  previous: boolean;
}

/** Answer of `POST /v1/upgrade`, `/v1/rollback` and `/v1/adopt`, status 202. */
export interface Accepted {
  job: string;
  status: string;
  progress: string;
}
