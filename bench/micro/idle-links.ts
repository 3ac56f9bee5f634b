// What a TCP link that does nothing costs an agent in private memory: two crowds of links to a real agent, the difference of its memory
// over the difference of their number, so that what the first links bring with them does not count.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeHello } from '../../dist/sdk/hello.js';
import { startAgent } from '../paths/agents.js';
import type { Processes } from '../paths/processes.js';
import { memoryOf } from '../run/process-facts.js';

const fewLinks = 500;
const manyLinks = 4_500;
/** Links that are opened at the same time. */
const atOnce = 50;
/** V8 gives memory back a moment after it was needed; the least of some looks counts. */
const looks = 10;
const lookEveryMs = 200;

/** Bytes of RssAnon for each link. */
export async function idleLinkBytes(processes: Processes): Promise<number> {
  const limits = { links: 8_192, linksPerUid: 8_192, linksPerAddress: 8_192 };
  const agent = await startAgent('agent-with-idle-links', processes.directory, processes, { limits });
  const sockets: Socket[] = [];
  const openUntil = async (count: number): Promise<number> => {
    while (sockets.length < count) {
      const opening = Array.from({ length: Math.min(atOnce, count - sockets.length) }, () =>
        openLink(agent.loopbackPort),
      );
      sockets.push(...(await Promise.all(opening)));
    }
    const seen: number[] = [];
    for (let i = 0; i < looks; i++) {
      await sleep(lookEveryMs);
      seen.push(memoryOf([agent.process.pid]).anonBytes);
    }
    return Math.min(...seen);
  };
  try {
    const few = await openUntil(fewLinks);
    const many = await openUntil(manyLinks);
    const lost = sockets.filter((socket) => socket.destroyed).length;
    if (lost > 0) throw new Error(`the agent closed ${lost} of ${manyLinks} idle links`);
    return Math.max(0, many - few) / (manyLinks - fewLinks);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function openLink(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect');
  socket.write(encodeHello('bench-idle', 0, undefined));
  await once(socket, 'data');
  return socket;
}
