// Whom an application takes for its agent. What needs another user's process stands in test/e2e/foreign-agents.test.ts.
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentUsers } from '../../src/sdk/agent-users.js';
import { openTcpChannel, openUnixChannel } from '../../src/sdk/channel-socket.js';
import type { WhyNot } from '../../src/sdk/channel-socket.js';
import { until } from '../support/until.js';

const self = process.geteuid?.() ?? 0;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-users-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const users = (agentUids: readonly number[] | 'any' = [], socketGiven = true): AgentUsers =>
  new AgentUsers({ socketPath: join(directory, 'agent.sock'), socketGiven, agentUids });

describe('who may be the agent', () => {
  it('is this user, root, and whom the option names; or anybody', () => {
    expect(new Set(users([900]).allowed())).toEqual(new Set([self, 0, 900]));
    expect(users('any').allowed()).toBeUndefined();
  });

  it('is the owner of the directory of a given path, unless others may write there', () => {
    const owned = new AgentUsers({ socketPath: '/proc/1/agent.sock', socketGiven: true, agentUids: [] });
    expect(owned.allowed()).toContain(0);
    chmodSync(directory, 0o775);
    expect(users([], true).whyNotWrittenByAgent(self + 1, 'x')).toContain(`uid ${self + 1}`);
  });

  it('is nobody in a default directory that others may write', () => {
    chmodSync(directory, 0o1777);
    const inside = join(directory, 'ringside');
    mkdirSync(inside);
    chmodSync(inside, 0o777);
    const of = (agentUids: readonly number[] | 'any', socketGiven: boolean): AgentUsers =>
      new AgentUsers({ socketPath: join(inside, 'agent.sock'), socketGiven, agentUids });
    expect(() => of([], false).checkDirectory()).toThrow('can be written by others');
    expect(() => of([], true).checkDirectory()).not.toThrow();
    expect(() => of('any', false).checkDirectory()).not.toThrow();
  });
});

/** What a listener heard of a channel that asks `whyNot`, and why the channel ended. */
async function spoken(whyNot: WhyNot | undefined, tcp: boolean): Promise<{ heard: string; reason: string }> {
  const path = join(directory, 'agent.sock');
  let heard = '';
  let ended = false;
  const server = createServer((socket: Socket) => {
    socket.on('data', (bytes) => {
      heard += bytes.toString();
      socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => (ended = true));
  });
  await new Promise<void>((resolve) => {
    if (tcp) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  let reason = '';
  const events = {
    onData: () => undefined,
    onSpace: () => undefined,
    onClose: (why: string) => (reason = why),
  };
  if (tcp) {
    const { port } = server.address() as AddressInfo;
    openTcpChannel({ host: '127.0.0.1', port }, Buffer.from('hello'), events, 'tcp', whyNot);
  } else openUnixChannel(path, Buffer.from('hello'), events, whyNot);
  await until('both ends to end', () => ended && reason !== '');
  await new Promise((resolve) => server.close(resolve));
  return { heard, reason };
}

describe.each([
  ['a unix socket', false],
  ['a TCP port', true],
])('%s', (_name, tcp) => {
  it('hears the hello where nothing speaks against it', async () => {
    const all = users();
    const whyNot: WhyNot = (socket) => (tcp ? all.whyNotAtPort(socket) : all.whyNotAtSocket(socket));
    expect((await spoken(whyNot, tcp)).heard).toBe('hello');
  });

  it('hears nothing where something does, and the reason is told', async () => {
    expect(await spoken(() => 'not the agent', tcp)).toEqual({ heard: '', reason: 'not the agent' });
    const failing: WhyNot = () => {
      throw new Error('cannot be told');
    };
    expect(await spoken(failing, tcp)).toEqual({ heard: '', reason: 'cannot be told' });
  });
});
