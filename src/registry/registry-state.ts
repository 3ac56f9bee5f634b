/**
 * What a registry tells the process that takes over: the lists that serve, what is held in them, and whether ends of leases mean anything at
 * the moment. Without it a registry that comes back empty during an upgrade would empty the lists of the new process, which has nothing to
 * compare with. It comes from a process of the same user, of perhaps another version, so it is checked like any other input.
 */
import { z } from 'zod';
import { instanceIn } from './instance.js';

const milliseconds = z.number().min(0);

/** See the file's head; part of the state that src/handoff/agent-state.ts describes. */
export const registryState = z.object({
  /** For so long yet a lease that ended says nothing about its owner; null: until the registry answers again, and a lease longer. */
  doubtMs: milliseconds.nullable(),
  services: z.array(
    z.object({
      service: z.string(),
      listed: z.array(instanceIn),
      vanished: z.array(z.object({ item: instanceIn, leftMs: milliseconds, doubtful: z.boolean() })),
      protecting: z.boolean(),
      /** Ids that the watcher has taken out. */
      offline: z.array(z.string()),
    }),
  ),
});
export type RegistryState = z.output<typeof registryState>;
