import { expect, it } from 'vitest';
import { joinHostPort } from '../../src/base/join-host-port.js';
import { parseHostPort } from '../../src/sdk/settings.js';

it.each([
  ['10.0.0.1', '10.0.0.1:7000'],
  ['agent.example', 'agent.example:7000'],
  ['::1', '[::1]:7000'],
  ['fe80::1%eth0', '[fe80::1%eth0]:7000'],
])('%s and a port are %s, and what is read back', (host, text) => {
  expect(joinHostPort({ host, port: 7_000 })).toBe(text);
  expect(parseHostPort(text)).toEqual({ host, port: 7_000 });
});
