import { expect, it } from 'vitest';
import { countRequests } from '../../src/ops/agent-health.js';

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
