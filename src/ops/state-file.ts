/**
 * What the ops agent must know after its own death, in `state.json`: which version serves, which one did before, which processes run, what is
 * under way. Written whole and synced before the step it speaks of begins, so that a restarted ops agent can finish or undo that step
 * (recover.ts). Where the disk is full nothing is begun; what goes on goes on.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../base/durable-file.js';
import { errorText } from '../base/errors.js';
import { BUILT_IN, STEPS } from './api.js';

/** In the place of an address: the agent told that it has no admin server. */
export const NO_ADMIN = 'none';

/** How long after it could not be written it is tried again. */
const AGAIN_MS = 5_000;

const identity = z.object({ pid: z.int().positive(), startTicks: z.string(), bootId: z.string() });

/** A start of an agent. */
const agentRecord = z.object({
  /** The mark in its environment. */
  run: z.string(),
  version: z.string(),
  /** null from the decision to start it until its id is known. */
  process: identity.nullable(),
  /** Where its admin server answers, or NO_ADMIN; null until it has told. */
  admin: z.string().nullable(),
});
export type AgentRecord = z.output<typeof agentRecord>;

const progressFields = z.object({
  job: z.string(),
  kind: z.enum(['upgrade', 'rollback', 'adopt']),
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

type OpsProgress = z.output<typeof progressFields>;

/** How it stands on disk: see asFormerly. */
const onDisk = { adopts: z.literal(true).optional() };
function asNow<T extends OpsProgress & { adopts?: true | undefined }>({
  adopts,
  ...one
}: T): Omit<T, 'adopts'> {
  return adopts ? { ...one, kind: 'adopt' } : one;
}

const versions = z.object({ current: z.string(), previous: z.string().nullable() });

const stateSchema = z.object({
  format: z.literal(1),
  ...versions.shape,
  /** The one that serves, as far as is known. */
  agent: agentRecord.nullable(),
  /** The one that is to take over from it. */
  candidate: agentRecord.nullable(),
  job: progressFields
    .extend({ before: versions, ...onDisk })
    .transform(asNow)
    .nullable(),
  last: progressFields.extend(onDisk).transform(asNow).nullable(),
  /** Versions that were installed and of which no agent has served yet. */
  neverRan: z.array(z.string()).default([]),
});
export type OpsState = z.output<typeof stateSchema>;

export type StateChange = Partial<Omit<OpsState, 'format'>>;

/** See the file's head. */
export class StateFile {
  readonly #path: string;
  #state: OpsState;
  #again: NodeJS.Timeout | undefined;

  /**
   * @param onTrouble told when something that has happened cannot be written
   * @throws Error if there is a file that cannot be understood: to go on without it could start a second agent
   */
  constructor(
    directory: string,
    private readonly onTrouble: (error: Error) => void = () => undefined,
  ) {
    this.#path = join(directory, 'state.json');
    this.#state = read(this.#path) ?? {
      ...{ format: 1, current: BUILT_IN, previous: null },
      ...{ agent: null, candidate: null, job: null, last: null, neverRan: [] },
    };
  }

  get now(): Readonly<OpsState> {
    return this.#state;
  }

  /** Before something is begun. On disk when this returns. @throws Error if it cannot be written; nothing is changed then */
  set(change: StateChange): void {
    this.#write({ ...this.#state, ...change });
  }

  /** When something has happened, which a full disk does not undo: what cannot be written now is tried again until it is. */
  note(change: StateChange): void {
    const state = { ...this.#state, ...change };
    try {
      this.#write(state);
    } catch (error) {
      this.#state = state;
      if (this.#again !== undefined) return;
      this.onTrouble(error as Error);
      this.#again = setTimeout(() => {
        this.#again = undefined;
        this.note({});
      }, AGAIN_MS).unref();
    }
  }

  #write(state: OpsState): void {
    try {
      writeDurably(this.#path, `${JSON.stringify(asFormerly(state), null, 2)}\n`);
    } catch (error) {
      throw new Error(`${this.#path} cannot be written: ${errorText(error)}`, { cause: error });
    }
    this.#state = state;
    clearTimeout(this.#again);
    this.#again = undefined;
  }
}

/** What an ops agent of version 0.1.0 reads as well: it knows neither this step nor this kind, and skips fields that it does not know. */
function asFormerly(state: OpsState): object {
  const formerly = <T extends Pick<OpsProgress, 'kind' | 'step'>>(one: T | null) =>
    one && {
      ...one,
      ...(one.step === 'checking' ? { step: 'unpacking' } : {}),
      ...(one.kind === 'adopt' ? { kind: 'upgrade', adopts: true } : {}),
    };
  return { ...state, job: formerly(state.job), last: formerly(state.last) };
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
