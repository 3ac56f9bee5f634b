// The SDK's own client and server, through an agent or, on one connection, directly or through whatever proxy listens at the address.
import { connect, serve } from '../../dist/index.js';
import type { Endpoint } from './endpoint.js';

/** Longer than any wait that should be seen as latency. */
const timeoutMs = 30_000;

export const sdkEndpoint: Endpoint = {
  async serve({ path, agent }) {
    const server = await serve({
      app: 'bench-server',
      service: `bench-echo-${path}`,
      methods: (request) => request.body,
      ...(agent === undefined
        ? { mesh: false, listen: '127.0.0.1:0' }
        : { agent: agent.address, transport: agent.transport }),
    });
    return { address: server.address ?? '' };
  },

  async connect({ path, address, agent }) {
    const service = `bench-echo-${path}`;
    const client = await connect({
      app: 'bench-client',
      timeoutMs,
      ...(agent === undefined
        ? { mesh: false, endpoints: { [service]: [address] } }
        : { agent: agent.address, transport: agent.transport }),
    });
    return (body) => client.call(service, 'echo', body).then((reply) => reply.body.length);
  },
};
