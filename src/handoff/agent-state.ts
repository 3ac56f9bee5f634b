// What the TypeScript of one agent tells its successor before the engines hand over: the services that are in use, with the numbers that the
// engine knows their clusters and instances by, what the apps have published and old servers registered, and what the registry's lists are. JSON in the engine's offer; it comes from a process of
// the same user, and of perhaps another version, so it is checked like any other input.
import { Buffer } from 'node:buffer';
import { z } from 'zod';
import { instanceIn } from '../registry/instance.js';
import { registryState } from '../registry/registry-state.js';

const format = 1;

const number = z.int().min(0);
const candidate = z.object({
  key: z.string(),
  group: z.string(),
  version: z.string(),
  zone: z.string().default(''),
  instanceId: number,
  endpoint: z.object({
    weight: number,
    address: z.string().optional(),
    protocol: z.enum(['mesh', 'legacy']).optional(),
    link: number.optional(),
  }),
});
const service = z.object({
  service: z.string(),
  routes: z.array(z.object({ group: z.string(), version: z.string(), cluster: number })),
  candidates: z.array(candidate),
});
const publication = z.object({
  /** Of the app that serves it; else a program does, at an address. */
  link: number.optional(),
  address: z.string().optional(),
  protocol: z.enum(['mesh', 'legacy']).optional(),
  key: z.string(),
  service: z.string(),
  group: z.string(),
  version: z.string(),
  weight: number,
  instance: instanceIn.nullable(),
});
const registration = z.object({ instance: instanceIn, leftMs: number });
const listening = z.object({ host: z.string(), port: number, actualPort: number });
const agentState = z.object({
  format: z.literal(format),
  socketPath: z.string(),
  inboundListener: listening,
  loopbackListener: listening.nullable(),
  /** Where applications of other agents are taken in. */
  fallbackListener: listening.nullable().default(null),
  unusedIds: z.object({ cluster: number, instance: number }),
  outbound: z.array(service),
  inbound: z.array(service),
  publications: z.array(publication),
  registrations: z.array(registration).default([]),
  /** Absent where the registry has nothing to tell. */
  registry: registryState.optional(),
  handoffs: z.object({ done: number, failed: number }).default({ done: 0, failed: 0 }),
});

/** A service of one direction; candidates of the inbound direction are its publications. */
export type ServiceState = z.infer<typeof service>;
/** What an app or a program has published; `instance` as it stands in the registry. */
export type PublicationState = z.infer<typeof publication>;
/** What an old server has registered, and how long that stands unless it is renewed. */
export type RegistrationState = z.infer<typeof registration>;
/** See the file's head. */
export type AgentState = Omit<z.infer<typeof agentState>, 'format'>;

export function encodeAgentState(state: AgentState): Buffer {
  return Buffer.from(JSON.stringify({ format, ...state }));
}

/** @throws Error saying what this version does not understand */
export function decodeAgentState(bytes: Buffer): AgentState {
  const result = agentState.safeParse(JSON.parse(bytes.toString('utf8')));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join('.') || 'offer';
  throw new Error(`the old agent's offer is not understood: ${where}: ${issue?.message ?? 'is malformed'}`);
}
