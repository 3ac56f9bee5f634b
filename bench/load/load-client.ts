// The client application: connects on each path, then sends what it is told to on the one that it is told.
import { setTimeout as sleep } from 'node:timers/promises';
import { answerOrders } from './answer-orders.js';
import { loadEndpoint } from './endpoint.js';
import { generateLoad } from './generate-load.js';
import type { Call } from './generate-load.js';
import type { ConnectOrder, LoadOrder } from './messages.js';

const foundDeadlineMs = 10_000;
const retryMs = 50;
const probe = Buffer.from('ready?');
const calls = new Map<string, Call>();

answerOrders(async (order: ConnectOrder | LoadOrder): Promise<object> => {
  if ('connect' in order) {
    const { kind, path } = order.connect;
    const call = await (await loadEndpoint(kind)).connect(order.connect);
    const bytes = await firstAnswer(call);
    if (bytes !== probe.length) throw new Error(`the echo on path ${path} answered ${bytes} bytes`);
    calls.set(path, call);
    return { connected: true };
  }
  const { path, ...plan } = order.load;
  const call = calls.get(path);
  if (call === undefined) throw new Error(`the client is not connected on path ${path}`);
  return generateLoad(call, plan);
});

/** An agent learns of an instance that another one has just registered a moment later. */
async function firstAnswer(call: Call): Promise<number> {
  const deadlineMs = performance.now() + foundDeadlineMs;
  for (;;) {
    try {
      return await call(probe);
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    await sleep(retryMs);
  }
}
