// The server application: an echo for each path, all in one process, so that only what lies between differs.
import { answerOrders } from './answer-orders.js';
import { loadEndpoint } from './endpoint.js';
import type { ServeAnswer, ServeOrder } from './messages.js';

answerOrders(async ({ serve }: ServeOrder): Promise<ServeAnswer> => {
  const { address } = await (await loadEndpoint(serve.kind)).serve(serve);
  return { address };
});
