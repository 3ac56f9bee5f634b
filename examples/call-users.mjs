// Calls through the agent: timeout, cancellation, and what an error says about running again.
import { connect } from '@ringside/mesh';

const client = await connect({ app: 'shop' });
client.on('transport', (transport) => console.log(`now over ${transport}`));
console.log(`calling over ${client.transport}`);

const get = (id, options) => client.call('user-service', 'get', JSON.stringify({ id }), options);

console.log((await get(7, { timeoutMs: 200 })).body.toString());

try {
  await get(8, { signal: AbortSignal.timeout(1000) });
} catch (error) {
  // Only with mayHaveRun false is it safe to send again what must not happen twice.
  console.log(
    `${error.status}: ${error.message} (retryable: ${error.retryable}, may have run: ${error.mayHaveRun})`,
  );
}

await client.close();
