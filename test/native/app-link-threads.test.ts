// The addon in worker threads: links end with their thread, however it ends, and what a callback throws surfaces as an
// uncaught exception while the link lives on.
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeAgent, makeHello, makeRequest } from '../support/fake-agent.js';

const RING = 256 * 1024;
const script = fileURLToPath(new URL('../support/app-link-worker.mjs', import.meta.url));
const frame = makeRequest(3, 100);

describe('an app link in a worker thread', () => {
  let agent: FakeAgent;
  beforeEach(async () => {
    agent = await FakeAgent.start();
  });
  afterEach(() => agent.stop());

  async function openIn(
    behaviour: string,
  ): Promise<{ worker: Worker; messages: string[]; exit: Promise<number> }> {
    const messages: string[] = [];
    const worker = new Worker(script, {
      workerData: { socketPath: agent.socketPath, hello: makeHello(RING), behaviour },
    });
    const exit = once(worker, 'exit').then(([code]) => code as number);
    const opened = once(worker, 'message');
    worker.on('message', (message: string) => messages.push(message));
    agent.send('accept');
    await agent.expect('hello');
    agent.send('welcome', 0, RING);
    expect(await opened).toEqual(['open']);
    return { worker, messages, exit };
  }

  async function echo(): Promise<void> {
    agent.send('put', 1, frame.toString('hex'));
    // The echo and the answer to the command race.
    const lines = [await agent.line(), await agent.line()].sort();
    expect(lines).toEqual(['done put', `frame ${frame.toString('hex')}`]);
  }

  it('works beside another one', async () => {
    const { exit, messages } = await openIn('close');
    await echo();
    expect(await exit).toBe(0);
    expect(messages).toEqual(['open', 'close: closed by the application']);
    await agent.expect('closed');
  });

  it('ends with a thread that is terminated', async () => {
    const { worker } = await openIn('echo');
    for (let round = 0; round < 5; round++) await echo();
    agent.send('put', 100, frame.toString('hex'));
    await worker.terminate();
    // Some of the batch may have been echoed before.
    let line = await agent.line();
    while (line !== 'closed') line = await agent.line();
  });

  it('ends with a thread that exits inside a callback', async () => {
    const { exit } = await openIn('exit');
    agent.send('put', 1, frame.toString('hex'));
    expect(await exit).toBe(7);
    let line = await agent.line();
    while (line !== 'closed') line = await agent.line();
  });

  it('does not keep a thread alive after unref', async () => {
    const { exit, messages } = await openIn('unref');
    expect(await exit).toBe(0);
    expect(messages).toEqual(['open']);
    await agent.expect('closed');
  });

  it('goes on after a callback threw', async () => {
    const { worker, messages } = await openIn('throw');
    const thrown = once(worker, 'message');
    agent.send('put', 1, frame.toString('hex'));
    await agent.expect('done');
    expect(await thrown).toEqual(['uncaught: thrown by onData']);
    await echo();
    await worker.terminate();
    expect(messages).toEqual(['open', 'uncaught: thrown by onData']);
  });
});
