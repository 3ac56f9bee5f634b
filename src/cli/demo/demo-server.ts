// The demo's server application: an echo on every path, in one process.
import { once } from 'node:events';
import { serve } from '../../sdk/connect.js';
import type { ServeOptions } from '../../sdk/types.js';
import { serviceOf } from './messages.js';
import type { ServeAnswer, ServeOrder } from './messages.js';

export async function runDemoServer(): Promise<void> {
  const [{ agent }] = (await once(process, 'message')) as [ServeOrder];
  const echo = { app: 'demo-server', methods: (request) => request.body } satisfies Partial<ServeOptions>;
  const servers = await Promise.all([
    serve({ ...echo, service: serviceOf('shm'), agent: agent.socket, transport: 'shm' }),
    serve({
      ...echo,
      service: serviceOf('tcp'),
      agent: `tcp://127.0.0.1:${agent.loopback}`,
      transport: 'tcp',
    }),
    serve({ ...echo, service: serviceOf('direct'), mesh: false, listen: '127.0.0.1:0' }),
  ]);
  const answer: ServeAnswer = { ready: true, direct: servers[2].address ?? '' };
  process.send?.(answer);
  await Promise.race([once(process, 'SIGTERM'), once(process, 'disconnect')]);
  await Promise.all(servers.map((server) => server.close()));
  if (process.connected) process.disconnect();
}
