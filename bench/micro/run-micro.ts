// The scenario `scale`: what single operations cost, without applications around them. Native programs for what is native (ring, codec,
// flow table, picks), a script for the crossing between JavaScript and the addon, and an agent for what an idle link costs it.
import { startAgent } from '../paths/agents.js';
import { Processes } from '../paths/processes.js';
import { idleLinkBytes } from './idle-links.js';
import { nativeCosts } from './native-costs.js';

/** Figures by operation, in nanoseconds unless the name ends with another unit. */
export async function runMicro(say: (text: string) => void): Promise<Record<string, number>> {
  const processes = new Processes();
  try {
    say('building and running the native programs');
    const native = nativeCosts();
    say('crossing from JavaScript into the addon');
    const { socket } = await startAgent('agent-for-crossing', processes.directory, processes);
    const crossing = await processes
      .script('crossing', 'micro/crossing.js')
      .ask<Record<string, number>>({ socket });
    say('opening links that stay idle');
    return { ...native, ...crossing, 'idle TCP link, bytes': await idleLinkBytes(processes) };
  } finally {
    await processes.stop();
  }
}
