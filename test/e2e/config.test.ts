// The configuration of a real agent: what is wrong stops it with words, what may change is followed while it runs, what may not is
// named, and a bad change leaves everything as it was.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Status } from '../../src/base/status.js';
import { FrameType } from '../../src/protocol/frame.js';
import { commandLine, mergeConfig } from '../support/agent-process.js';
import type { AgentConfig, AgentProcess } from '../support/agent-process.js';
import type { AppProcess } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { RawLink } from '../support/raw-link.js';
import { RunningProcess } from '../support/running-process.js';

const mesh = new Mesh();
let files = 0;
function file(text: string): string {
  const path = join(mesh.directory, `${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}
const agentWith = (...args: string[]): RunningProcess =>
  new RunningProcess('agent', commandLine, ['agent', ...args]);
afterAll(() => mesh.close());

describe('a file that cannot be used', () => {
  it('ends the agent with code 2 and lists what is wrong: place, found, allowed', async () => {
    const path = file('inbound:\n  prot: 1\nlog:\n  level: loud\ntimeouts:\n  drainMs: -5\n');
    const agent = agentWith('--config', path);
    expect(await agent.over()).toEqual({ code: 2, signal: null });
    expect(agent.stdout).toBe('');
    expect(agent.stderr).toContain(path);
    expect(agent.stderr).toContain('inbound.prot (line 2, column 3): unknown field; did you mean "port"?');
    expect(agent.stderr).toMatch(/log\.level \(line 4.*found "loud", allowed: fatal, error, warn, info/);
    expect(agent.stderr).toMatch(/timeouts\.drainMs \(line 6.*found -5, allowed: .*0 to 600000/);
  });

  it.each([
    ['is a directory', mesh.directory, 'cannot be read'],
    ['is no YAML', file('a: [1\nb: }'), 'line'],
  ])('because it %s', async (_why, path, text) => {
    const agent = agentWith('--config', path);
    expect(await agent.over()).toEqual({ code: 2, signal: null });
    expect(agent.stderr).toContain(path);
    expect(agent.stderr).toContain(text);
  });

  it('because it is missing where an agent is to take over', async () => {
    const path = join(mesh.directory, 'nowhere.yaml');
    const agent = agentWith('--config', path, '--takeover');
    expect(await agent.over()).toEqual({ code: 2, signal: null });
    expect(agent.stderr).toContain(path);
    expect(agent.stderr).toContain('cannot be read');
  });

  it('is found by --check too, which starts nothing', async () => {
    const bad = agentWith('--config', file('admin: { port: 70000 }'), '--check');
    expect(await bad.over()).toEqual({ code: 2, signal: null });
    expect(bad.stderr).toContain('admin.port');
    const good = agentWith('--config', file('admin: { port: 7000 }'), '--check');
    expect(await good.over()).toEqual({ code: 0, signal: null });
    expect(good.stdout).toContain('is valid');
    const missing = agentWith('--config', join(mesh.directory, 'nowhere.yaml'), '--check');
    expect(await missing.over()).toEqual({ code: 2, signal: null });
    expect(missing.stderr).toContain('cannot be read');
    const none = agentWith('--check');
    expect(await none.over()).toEqual({ code: 0, signal: null });
  });
});

describe('a change while the agent runs', () => {
  let agent: AgentProcess;
  let client: AppProcess;
  let config: AgentConfig;
  beforeAll(async () => {
    agent = await mesh.agent('agent', { loopback: { token: 'a-secret-token' } });
    [client] = await Promise.all([
      mesh.client('client', agent),
      mesh.server('server', agent, { service: 'ledger' }),
    ]);
    await mesh.reachable(client, 'ledger');
    config = JSON.parse(readFileSync(agent.configFile, 'utf8')) as AgentConfig;
  });

  /** Puts a new file in the place of the old one, as editors and Kubernetes do. */
  function replaceFile(text: string): void {
    const beside = `${agent.configFile}.new`;
    writeFileSync(beside, text);
    renameSync(beside, agent.configFile);
  }
  async function change(changes: AgentConfig): Promise<void> {
    config = mergeConfig(config, changes);
    replaceFile(JSON.stringify(config));
  }
  async function followed(...fields: string[]): Promise<void> {
    await agent.logged(`the reload of ${fields.join(', ')}`, (line) => {
      return line.msg === 'the configuration was reloaded' && String(line['fields']) === fields.join(',');
    });
  }
  const inForce = (): Promise<Record<string, Record<string, unknown>>> => agent.get('/config');

  it('to the deadlines reaches the next call', async () => {
    await change({ timeouts: { defaultMs: 120, maxMs: 2_000 } });
    await followed('timeouts.defaultMs', 'timeouts.maxMs');
    const { body } = await client.call('ledger', 'info', '', { timeoutMs: 60_000 });
    const seen = JSON.parse(body.toString()) as { timeoutMs: number };
    expect(seen.timeoutMs).toBeGreaterThan(120);
    expect(seen.timeoutMs).toBeLessThanOrEqual(2_001);
    // The SDK always states a deadline; this request has none, so the agent's default ends it.
    const raw = RawLink.hello(agent.socket);
    raw.request('ledger', 'never');
    const reply = await raw.frame(FrameType.response);
    expect(reply.status).toBe(Status.DEADLINE_EXCEEDED);
    raw.close();
  });

  it('to the balancer shows in the clusters', async () => {
    await change({ balancer: { default: 'round-robin', services: { ledger: 'p2c' } } });
    await followed('balancer.default', 'balancer.services');
    const balancers = async (): Promise<string[]> =>
      (await agent.clusters()).filter(({ service }) => service === 'ledger').map(({ balancer }) => balancer);
    expect(new Set(await balancers())).toEqual(new Set(['p2c']));
    await change({ balancer: { services: { ledger: 'round-robin' } } });
    await followed('balancer.services');
    expect(new Set(await balancers())).toEqual(new Set(['round-robin']));
    expect((await client.call('ledger', 'who')).body.toString()).toBe('server');
  });

  it('to the level of the log is followed both ways', async () => {
    await change({ log: { level: 'error' } });
    await expect.poll(async () => (await inForce())['log']?.['level'], { timeout: 10_000 }).toBe('error');
    await mesh.client('unlogged', agent);
    await change({ log: { level: 'debug' } });
    await followed('log.level');
    await mesh.client('logged', agent);
    await agent.logged('the link of logged', ({ msg, app }) => msg === 'link opened' && app === 'logged');
    expect(agent.log.some(({ app }) => app === 'unlogged')).toBe(false);
  });

  it('to a field that needs a new process is named, and what is in force stays', async () => {
    const before = await inForce();
    await change({ inbound: { port: 1 }, limits: { pending: 100 }, timeouts: { defaultMs: 1_500 } });
    const line = await agent.logged('fields for a restart', ({ msg }) =>
      msg.includes('after a restart only'),
    );
    expect(line['fields']).toEqual(['inbound.port', 'limits.pending']);
    const after = await inForce();
    expect(after['timeouts']?.['defaultMs']).toBe(1_500);
    expect(after['inbound']).toEqual(before['inbound']);
    expect((await agent.limit('pending')).max).toBe(65_536);
  });

  it('that is bad is refused with the reason; SIGHUP looks again at once and refuses again', async () => {
    const before = await inForce();
    const refusals = (): number => agent.log.filter(({ msg }) => msg.includes('was refused')).length;
    replaceFile('timeouts: { defaultMs: soon }');
    const line = await agent.logged('a refusal', ({ msg }) => msg.includes('was refused'));
    expect(line['error']).toContain('timeouts.defaultMs');
    expect(line['error']).toContain('found "soon"');
    // The watch tells of one bad text once, a signal each time.
    for (const wanted of [2, 3]) {
      agent.process.signal('SIGHUP');
      await agent.process.seen(`refusal ${wanted}`, () => refusals() >= wanted);
    }
    expect(await inForce()).toEqual(before);
    expect((await client.call('ledger', 'who')).body.toString()).toBe('server');

    await change({ timeouts: { defaultMs: 1_000 } });
    await expect
      .poll(async () => (await inForce())['timeouts']?.['defaultMs'], { timeout: 10_000 })
      .toBe(1_000);
  });

  it('never shows the token', async () => {
    expect(JSON.stringify(await inForce())).not.toContain('a-secret-token');
    expect(agent.process.output).not.toContain('a-secret-token');
  });
});
