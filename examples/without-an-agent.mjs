// Both ends in one process and no agent: the quickest way to see what a call looks like.
import { MeshError, connect, serve } from '@ringside/mesh';

const server = await serve({
  mesh: false,
  listen: '127.0.0.1:0',
  service: 'greeter',
  methods: {
    hello: (request) => `hello ${request.body}, from ${request.sourceApp}`,
    refuse: () => {
      throw new MeshError('PERMISSION_DENIED', 'not today');
    },
    sleep: () => new Promise(() => {}),
    note: (request) => console.log(`noted: ${request.body}`),
  },
});

const client = await connect({ mesh: false, app: 'example', endpoints: { greeter: [server.address] } });

const reply = await client.call('greeter', 'hello', 'Ada');
console.log(reply.body.toString());

for (const method of ['refuse', 'sleep', 'unheard-of']) {
  try {
    await client.call('greeter', method, '', { timeoutMs: 100 });
  } catch (error) {
    console.log(`${method}: ${error.status}, may have run: ${error.mayHaveRun}`);
  }
}

await client.send('greeter', 'note', 'nobody answers this');
await client.close();
await server.close();
