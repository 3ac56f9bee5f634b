// Where an agent listens, as one process tells the next: what passes on, and which differences are refused.
import { describe, expect, it } from 'vitest';
import { parseAgentConfig } from '../../src/config/load-config.js';
import { checkListening, listenStateOf, portsOf } from '../../src/handoff/listening.js';

const text = 'socket: {path: /run/r/a.sock}\ninbound: {port: 0}\n';
const plain = parseAgentConfig(text);
const withFallback = parseAgentConfig(
  `${text}loopback: {token: 12345678a}\negressFallback: {enabled: true, port: 0}`,
);
const ports = { inbound: 4001, loopback: 4002, fallback: 4003 };

describe('where an agent listens', () => {
  it('passes on with the ports as they were bound', () => {
    expect(portsOf(listenStateOf(withFallback, ports))).toEqual(ports);
    expect(portsOf(listenStateOf(plain, { inbound: 4001 }))).toEqual({ inbound: 4001 });
  });

  it('is the same for a process with the same configuration, whatever ports it was given', () => {
    expect(() => checkListening(listenStateOf(withFallback, ports), withFallback)).not.toThrow();
    expect(() => checkListening(listenStateOf(plain, { inbound: 1, loopback: 2 }), plain)).not.toThrow();
  });

  it.each([
    ['socket: {path: /run/r/b.sock}\ninbound: {port: 0}', 'socket.path'],
    [`${text}inbound: {port: 7}`.replace('inbound: {port: 0}\n', ''), 'inbound'],
    [`${text}loopback: {enabled: false}`, 'loopback'],
    [`${text}loopback: {port: 9}`, 'loopback'],
    [`${text}loopback: {token: 12345678a}\negressFallback: {enabled: true}`, 'egressFallback'],
    [
      'socket: {path: /run/r/b.sock}\nloopback: {host: "::1"}\ninbound: {host: 10.0.0.1, port: 0}',
      'socket.path, inbound, loopback',
    ],
  ])('cannot be changed by a takeover: %j', (other, names) => {
    const state = listenStateOf(plain, { inbound: 1, loopback: 2 });
    expect(() => checkListening(state, parseAgentConfig(other))).toThrow(
      `a takeover cannot change where the agent listens, and these differ: ${names}`,
    );
  });
});
