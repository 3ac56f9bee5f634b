import { expect, test } from 'vitest';
import { connect, serve } from '../../src/index.js';

test('a call over TCP without an agent', async () => {
  const server = await serve({ mesh: false, service: 's', methods: { echo: (r) => r.body } });
  const client = await connect({ mesh: false, endpoints: { s: [server.address!] } });
  const reply = await client.call('s', 'echo', 'hello');
  expect(reply.body.toString()).toBe('hello');
  await client.close();
  await server.close();
});
