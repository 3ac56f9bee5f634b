// `ringside serve-echo`: a service to try things with. Ends gracefully on SIGTERM, SIGINT and SIGHUP.
import { serve } from '../sdk/connect.js';
import type { ProcessSignals } from './process-signals.js';
import type { MeshOptions } from '../sdk/types.js';
import { print, printJson } from './output.js';

export interface ServeEchoOptions {
  service: string;
  group?: string;
  listen?: string;
  agent?: string;
  transport?: Exclude<MeshOptions['transport'], undefined>;
  json?: boolean;
}

export async function runServeEcho(options: ServeEchoOptions, signals: ProcessSignals): Promise<void> {
  const server = await serve({
    app: 'ringside-echo',
    service: options.service,
    methods: (request) => request.body,
    ...(options.group === undefined ? {} : { group: options.group }),
    ...(options.agent === undefined ? {} : { agent: options.agent }),
    ...(options.transport === undefined ? {} : { transport: options.transport }),
    ...(options.listen === undefined ? {} : { mesh: false, listen: options.listen }),
  });
  const { service } = options;
  const way = options.listen === undefined ? { transport: server.transport } : { address: server.address };
  if (process.send) process.send({ ready: true, ...way });
  process.disconnect?.();
  if (options.json) printJson({ service, ...way });
  else
    print(`serving ${service} ${'transport' in way ? `over ${way.transport}` : `on ${String(way.address)}`}`);
  await signals.stopOrHangUp();
  await server.close();
}
