// What a service in Node does without a mesh, second kind: POST with undici to a server of node:http, connections kept alive.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import type { Endpoint } from './endpoint.js';

const connections = 128;

export const httpEndpoint: Endpoint = {
  async serve() {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
        response.writeHead(200, {
          'content-type': 'application/octet-stream',
          'content-length': body.length,
        });
        response.end(body);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  },

  connect({ address }) {
    const pool = new Pool(`http://${address}`, { connections });
    return Promise.resolve(async (body: Buffer) => {
      const response = await pool.request({ path: '/echo', method: 'POST', body });
      return (await response.body.arrayBuffer()).byteLength;
    });
  },
};
