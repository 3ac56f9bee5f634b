// Names its agent by a relative path, goes to another directory before the agent is there, and makes a call once it is.
import { connect } from '../../../src/index.js';

async function main(): Promise<void> {
  const option = process.argv[2];
  const client = await connect({ lazy: true, ...(option === undefined ? {} : { agent: option }) });
  process.chdir('/');
  process.stdout.write('gone\n');
  if (client.transport === 'none') await new Promise((resolve) => client.once('transport', resolve));
  const reply = await client.call('s', 'm', 'hi');
  process.stdout.write(`${reply.body.toString()}\n`);
  await client.close();
}

void main();
