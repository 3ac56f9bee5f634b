import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { countRequests, lookAtAgent, whyUnwell } from '../../src/ops/agent-health.js';
import type { HealthLook } from '../../src/ops/agent-health.js';

it('counts requests by what their status says of the mesh', () => {
  const text = `# HELP ringside_requests_total Requests answered, by status.
# TYPE ringside_requests_total counter
ringside_requests_total{direction="outbound",service="a",status="OK"} 100
ringside_requests_total{direction="outbound",service="a",status="UNAVAILABLE"} 7
ringside_requests_total{direction="inbound",service="odd} status=\\"OK\\"",status="INTERNAL"} 3
ringside_requests_total{direction="inbound",service="a",status="NOT_FOUND"} 5
ringside_request_duration_seconds_count{direction="inbound",service="a"} 99
`;
  expect(countRequests(text)).toEqual({ requests: 115, failed: 10 });
});

function look(more: Partial<HealthLook>): HealthLook {
  return { ready: true, reasons: [], trouble: [], requests: 0, failed: 0, ...more };
}
const down = 'registry redis: Redis at 10.0.0.7 does not answer';
const noWatch = 'registry watch: changes are seen at sweeps only: ENOSPC';
const unread = 'registry unread: the registry at 10.0.0.7 has not answered yet';
/** Of a build that was not ready while its registry was in trouble. */
const older = 'registry: Redis at 10.0.0.7 does not answer';

it.each<[string, Partial<HealthLook>, Partial<HealthLook> | undefined, RegExp | undefined]>([
  ['all is well', {}, {}, undefined],
  [
    'trouble with the registry that began with it',
    { trouble: [down] },
    {},
    /trouble that was not there.*10\.0\.0\.7/,
  ],
  ['the same trouble in other words', { trouble: [`${down} at all`] }, { trouble: [down] }, undefined],
  [
    'other trouble than before',
    { trouble: [noWatch, down] },
    { trouble: [noWatch] },
    /before: registry redis/,
  ],
  [
    'a registry that never answered',
    { ready: false, reasons: [unread], trouble: [unread] },
    {},
    /^not ready: registry unread/,
  ],
  [
    'one that did not before, either',
    { ready: false, reasons: [unread], trouble: [unread] },
    { trouble: [down] },
    undefined,
  ],
  [
    'one that never answered, after no more than a missing watch',
    { ready: false, reasons: [unread], trouble: [unread] },
    { trouble: [noWatch] },
    /not ready/,
  ],
  [
    'trouble that an older build had, too',
    { trouble: [down] },
    { ready: false, reasons: [older], trouble: [older] },
    undefined,
  ],
  [
    'an older build under trouble that was there',
    { ready: false, reasons: [older], trouble: [older] },
    { trouble: [down] },
    undefined,
  ],
  [
    'another reason not to be ready',
    { ready: false, reasons: ['the agent is draining'] },
    {},
    /not ready: the agent is draining/,
  ],
  ['what never was ready', { ready: false, reasons: ['the agent is draining'] }, { ready: false }, undefined],
  ['nothing is known of before', { trouble: [down] }, undefined, undefined],
  ['no answer', { problem: 'ECONNREFUSED' }, undefined, /^ECONNREFUSED$/],
])('a new version: %s', (_what, now, before, wanted) => {
  const why = whyUnwell(look(now), before === undefined ? undefined : look(before));
  if (wanted === undefined) expect(why).toBeUndefined();
  else expect(why).toMatch(wanted);
});

it('reads trouble with the registry from what is ready, and from what an older build calls not ready', async () => {
  let ready: object = {};
  const server = createServer((request, response) => {
    response.end(request.url === '/ready' ? JSON.stringify(ready) : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  ready = { ok: true, reasons: [], warnings: [down, 'something else: is wrong'] };
  expect(await lookAtAgent(admin, 5_000)).toMatchObject({ ready: true, trouble: [down] });
  ready = { ok: false, reasons: [older, 'the agent is draining'] };
  expect(await lookAtAgent(admin, 5_000)).toMatchObject({ ready: false, trouble: [older] });
  await new Promise((resolve) => server.close(resolve));
});
