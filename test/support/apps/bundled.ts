// What the test of bundles puts into one file: connects, makes a call, serves, and prints what it saw.
import { connect, serve } from '../../../src/index.js';

async function main(): Promise<void> {
  const client = await connect();
  const reply = await client.call('s', 'm', 'hi');
  const server = await serve({ service: 'bundled', methods: { get: () => 'got' } });
  process.stdout.write(JSON.stringify({ transport: client.transport, body: reply.body.toString() }));
  await Promise.all([client.close(), server.close()]);
}

void main();
