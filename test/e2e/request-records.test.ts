// What the log says of a request that failed: enough to find it in the caller's and the server's own traces.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const mesh = new Mesh();
let agent: AgentProcess;
let client: AppProcess;
beforeAll(async () => {
  agent = await mesh.agent('near');
  await mesh.server('server', agent, { service: 'ledger' });
  client = await mesh.client('client', agent);
  await mesh.reachable(client, 'ledger');
});
afterAll(() => mesh.close());

it('a failed request is logged with its method and trace, in both directions', async () => {
  const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
  await client.call('ledger', 'fail-mesh', '', { traceparent }).catch(() => undefined);
  for (const direction of ['outbound', 'inbound']) {
    const line = await agent.logged(`the ${direction} record`, (each) => {
      return each.msg === 'failed request' && each['direction'] === direction;
    });
    expect(line).toMatchObject({
      ...{ level: 'info', status: 'NOT_FOUND', service: 'ledger', method: 'fail-mesh', traceId },
    });
  }
});

it('and without a trace where the caller sent none, or what is none', async () => {
  await client.call('ledger', 'never', '', { timeoutMs: 50 }).catch(() => undefined);
  const line = await agent.logged('the record', (each) => each['method'] === 'never');
  expect(line).toMatchObject({ msg: 'failed request', status: 'DEADLINE_EXCEEDED' });
  expect(line).not.toHaveProperty('traceId');
});
