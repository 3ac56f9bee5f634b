/**
 * What the ops agent must know after its own death, in `state.json`: which version serves, which one did before, which processes run, what is
 * under way. Written whole and synced before the step it speaks of begins, so that a restarted ops agent can finish or undo that step
 * (recover.ts).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../base/durable-file.js';
import { errorText } from '../base/errors.js';
import { BUILT_IN, STEPS } from './api.js';

const identity = z.object({ pid: z.int().positive(), startTicks: z.string(), bootId: z.string() });

/** A start of an agent. */
const agentRecord = z.object({
  /** The mark in its environment. */
  run: z.string(),
  version: z.string(),
  /** null from the decision to start it until its id is known. */
  process: identity.nullable(),
  /** Where its admin server answers; null until it has told. */
  admin: z.string().nullable(),
});
export type AgentRecord = z.output<typeof agentRecord>;

const progress = z.object({
  job: z.string(),
  kind: z.enum(['upgrade', 'rollback']),
  version: z.string(),
  step: z.enum(STEPS),
  at: z.string(),
  detail: z.string().optional(),
  bytes: z.number().optional(),
  totalBytes: z.number().optional(),
  handoff: z
    .object({ freezeUs: z.number(), links: z.number(), pending: z.number(), parked: z.number() })
    .optional(),
});

const versions = z.object({ current: z.string(), previous: z.string().nullable() });

const stateSchema = z.object({
  format: z.literal(1),
  ...versions.shape,
  /** The one that serves, as far as is known. */
  agent: agentRecord.nullable(),
  /** The one that is to take over from it. */
  candidate: agentRecord.nullable(),
  job: progress.extend({ before: versions }).nullable(),
  last: progress.nullable(),
});
export type OpsState = z.output<typeof stateSchema>;

/** See the file's head. */
export class StateFile {
  readonly #path: string;
  #state: OpsState;

  /** @throws Error if there is a file that cannot be understood: to go on without it could start a second agent */
  constructor(directory: string) {
    this.#path = join(directory, 'state.json');
    this.#state = read(this.#path) ?? {
      ...{ format: 1, current: BUILT_IN, previous: null },
      ...{ agent: null, candidate: null, job: null, last: null },
    };
  }

  get now(): Readonly<OpsState> {
    return this.#state;
  }

  /** Changes some of it; on disk when this returns. */
  set(change: Partial<Omit<OpsState, 'format'>>): void {
    this.#state = { ...this.#state, ...change };
    writeDurably(this.#path, `${JSON.stringify(this.#state, null, 2)}\n`);
  }
}

function read(path: string): OpsState | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `${path} cannot be understood; end the agent it speaks of and move it away to begin anew (${errorText(error)})`,
      { cause: error },
    );
  }
}
