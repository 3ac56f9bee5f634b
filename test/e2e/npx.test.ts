// An agent that is run by npx: npm dies of SIGTERM with the shell in between, and tells the agent nothing. The agent notices, and drains.
import { spawnSync } from 'node:child_process';
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentProcess, commandLine } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { processExists } from '../support/proc-facts.js';
import { RunningProcess } from '../support/running-process.js';
import type { StartOptions } from '../support/running-process.js';
import { steadyPort } from '../support/steady-port.js';
import { until } from '../support/until.js';

const project = fileURLToPath(new URL('../..', import.meta.url));
const npx = spawnSync('which', ['npx'], { encoding: 'utf8' }).stdout.trim();
if (npx === '') console.warn('SKIPPED: agents that npx runs: there is no npx');

let mesh: Mesh;
/** Agents that a test left running, by their pid. */
let left: number[];
beforeEach(() => {
  mesh = new Mesh();
  left = [];
});
afterEach(async () => {
  for (const pid of left.filter(processExists)) process.kill(pid, 'SIGKILL');
  await mesh.close();
});

/** A folder in which the package is installed, with a configuration. */
function installed(name: string): { folder: string; config: string; socket: string } {
  const folder = join(mesh.directory, name);
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '.bin'), { recursive: true });
  mkdirSync(join(modules, '@ringside'));
  symlinkSync(project, join(modules, '@ringside', 'mesh'));
  // An installation makes the command executable, a build does not.
  const command = `#!/usr/bin/env node\nimport(${JSON.stringify(commandLine)});\n`;
  writeFileSync(join(modules, '.bin', 'ringside'), command, { mode: 0o755 });
  writeFileSync(
    join(folder, 'package.json'),
    '{"name":"user","private":true,"scripts":{"mesh":"ringside agent"}}',
  );
  const config = join(folder, 'agent.yaml');
  const socket = join(folder, 'agent.sock');
  const ports = { loopback: { port: steadyPort() }, inbound: { host: '127.0.0.1', port: steadyPort() } };
  const rest = { socket: { path: socket }, advertise: { host: '127.0.0.1' }, admin: { port: 0 } };
  const registry = { directory: mesh.registryDirectory };
  writeFileSync(config, JSON.stringify({ app: name, ...ports, ...rest, registry }));
  return { folder, config, socket };
}

/** Starts an agent through another process, which is what the test holds. */
async function startThrough(
  name: string,
  script: string,
  args: (config: string) => string[],
  options: StartOptions = {},
): Promise<{ agent: AgentProcess; pid: number }> {
  const { folder, config, socket } = installed(name);
  const starter = new RunningProcess(name, script, args(config), { cwd: folder, ...options });
  const agent = new AgentProcess(starter, config);
  agent.socket = socket;
  const { pid } = (await agent.logged('readiness', ({ msg }) => msg === 'the agent is ready')) as unknown as {
    pid: number;
  };
  left.push(pid);
  return { agent, pid };
}

describe.skipIf(npx === '')('npx', () => {
  const run = (name: string): ReturnType<typeof startThrough> =>
    startThrough(name, realpathSync(npx), (config) => [
      '--no-install',
      'ringside',
      'agent',
      '--config',
      config,
    ]);

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'that is ended by %s leaves no agent behind: it drains',
    async (signal) => {
      const { agent, pid } = await run('agent');
      expect(pid).not.toBe(agent.pid);
      const server = await mesh.server('server', agent, { service: 'ledger' });
      const client = await mesh.client('client', agent);
      await mesh.reachable(client, 'ledger');
      const answer = client.call('ledger', 'held', 'x', { timeoutMs: 20_000 });
      await server.event('held');
      agent.process.signal(signal);
      await agent.logged('the end of npm', ({ msg }) => msg.startsWith('asked to end'));
      await server.letGo();
      expect((await answer).body.toString()).toBe('server let go of x');
      await Promise.all(mesh.apps.map((app) => app.process.end()));
      await agent.logged('its end', ({ msg }) => msg === 'the agent has stopped');
      await until('the agent to be gone', () => !processExists(pid));
      await agent.process.over();
    },
  );

  it('that is ended together with its agent, as by Ctrl-C, is no second request to end', async () => {
    const { agent, pid } = await run('agent');
    const client = await mesh.client('client', agent);
    process.kill(pid, 'SIGINT');
    await agent.logged('its drain', ({ msg }) => msg.startsWith('asked to end'));
    agent.process.signal('SIGKILL');
    await agent.logged('the wait for its applications', ({ msg }) =>
      msg.includes('may go on until they close'),
    );
    await client.process.end();
    await agent.logged('its end', ({ msg }) => msg === 'the agent has stopped');
    expect(agent.log.some(({ msg }) => msg.includes('twice'))).toBe(false);
    await agent.process.over();
  });
});

describe('an agent that is to outlive whoever started it', () => {
  /** A shell that starts the agent, and waits. */
  const throughShell = (
    name: string,
    launcher: string,
    env: Record<string, string>,
  ): ReturnType<typeof startThrough> =>
    startThrough(name, commandLine, (config) => ['agent', '--config', config], {
      through: ['sh', '-c', `${launcher} "$@" & wait`, 'sh'],
      env,
    });

  it('does: a daemon, one of an ops agent, one without npm; beside one that npm started', async () => {
    const npm = { npm_lifecycle_event: 'start' };
    const others = [
      await throughShell('daemon', 'setsid', npm),
      await throughShell('of-ops', '', { ...npm, RINGSIDE_OPS_RUN: 'x' }),
      await throughShell('plain', '', {}),
    ];
    const ofNpm = await throughShell('of-npm', '', npm);
    for (const { agent } of others) agent.process.signal('SIGKILL');
    ofNpm.agent.process.signal('SIGKILL');
    await until('the agent of npm to be gone', () => !processExists(ofNpm.pid));
    for (const { agent, pid } of others) {
      expect(agent.log.map(({ msg }) => msg)).not.toContain('asked to end; ask again to leave at once');
      expect(processExists(pid)).toBe(true);
      process.kill(pid, 'SIGTERM');
      await until(`the agent ${agent.name} to be gone`, () => !processExists(pid));
      await agent.process.over();
    }
    await ofNpm.agent.process.over();
  });
});
