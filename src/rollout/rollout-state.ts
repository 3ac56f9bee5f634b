/** How far a rollout is, in a file from which `ringside rollout --resume` goes on; replaced whole and synced at each change. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { writeDurably } from '../base/durable-file.js';
import { errorText } from '../base/errors.js';
import { upgradeRequest } from '../ops/api.js';

const targetState = z.object({
  /** `failed`: it has the version from before, or nobody answers. `undone`: rolled back since others failed. */
  state: z.enum(['waiting', 'running', 'done', 'failed', 'undone']),
  /** What serves or goes wrong there, in words. */
  detail: z.string().optional(),
  /** The version before; absent where it had the wanted one already. */
  from: z.string().optional(),
  freezeUs: z.number().optional(),
});
export type TargetState = z.output<typeof targetState>;

const planSchema = z.object({
  /** What each target is asked for. */
  request: upgradeRequest,
  /** See src/policy/waves.ts. */
  batch: z.string(),
  /** As many targets may fail before no further one is touched. */
  maxFailures: z.int().min(0),
  rollbackOnFailure: z.boolean(),
});
/** What a rollout shall do. */
export type Plan = z.output<typeof planSchema>;

const stateSchema = z.object({
  format: z.literal(1),
  plan: planSchema,
  targets: z.record(z.string(), targetState),
});
type RolloutFile = z.output<typeof stateSchema>;

/** See the file's head. */
export class RolloutState {
  private constructor(
    readonly path: string,
    private readonly content: RolloutFile,
  ) {}

  static begin(path: string, plan: Plan): RolloutState {
    return new RolloutState(path, { format: 1, plan, targets: {} });
  }

  /** @throws Error if there is no such file, or it cannot be understood */
  static resume(path: string): RolloutState {
    try {
      return new RolloutState(path, stateSchema.parse(JSON.parse(readFileSync(path, 'utf8'))));
    } catch (error) {
      throw new Error(`${path} is no state of a rollout: ${errorText(error)}`, { cause: error });
    }
  }

  get plan(): Plan {
    return this.content.plan;
  }

  of(target: string): TargetState {
    return this.content.targets[target] ?? { state: 'waiting' };
  }

  set(target: string, state: TargetState): void {
    this.content.targets[target] = state;
    writeDurably(this.path, `${JSON.stringify(this.content, null, 2)}\n`);
  }
}
