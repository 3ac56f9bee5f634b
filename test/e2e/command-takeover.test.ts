// The commands that look at an agent go on over a takeover, and say which process they look at.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IdentityView } from '../../src/observe/agent-view.js';
import { commandLine } from '../support/agent-process.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Mesh } from '../support/mesh.js';
import { RunningProcess } from '../support/running-process.js';
import { steadyPort } from '../support/steady-port.js';

const mesh = new Mesh();
let agent: AgentProcess;
let admin: string[];
beforeAll(async () => {
  const port = steadyPort();
  agent = await mesh.agent('near', { app: 'shop', admin: { port } });
  admin = ['--admin', `http://127.0.0.1:${port}`];
});
afterAll(() => mesh.close());

interface TopLine {
  agent?: IdentityView;
  error?: string;
}
const lines = (stdout: string): TopLine[] =>
  stdout
    .slice(0, stdout.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TopLine);

async function status(): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = new RunningProcess('status', commandLine, ['status', ...admin]);
  const { code } = await command.over();
  return { code, stdout: command.stdout, stderr: command.stderr };
}

describe('over takeovers', () => {
  it('top goes on with the next process, and status answers at any moment', async () => {
    const top = new RunningProcess('top', commandLine, ['top', '--json', '--interval', '0.05', ...admin]);
    const seen = (pid: number): Promise<unknown> =>
      top.seen(`a look at ${pid}`, (stdout) => lines(stdout).some((line) => line.agent?.pid === pid));
    await seen(agent.pid);
    for (let round = 0; round < 2; round++) {
      let taken = false;
      const asking = (async () => {
        const answers = [];
        while (!taken) answers.push(await status());
        return answers;
      })();
      agent = await mesh.upgrade(agent);
      taken = true;
      for (const { code, stderr } of await asking) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      await seen(agent.pid);
    }
    expect(await top.end('SIGINT')).toEqual({ code: 0, signal: null });
    expect(top.stderr).toBe('');
    expect(lines(top.stdout).filter(({ error }) => error !== undefined)).toEqual([]);
  });

  it('top says so while no agent answers, and goes on when one does', async () => {
    const top = new RunningProcess('top', commandLine, ['top', '--json', '--interval', '0.05', ...admin]);
    await top.seen('a look', (stdout) => lines(stdout).some((line) => line.agent?.pid === agent.pid));
    await agent.process.end('SIGTERM');
    await top.seen('an error', (stdout) =>
      lines(stdout).some(({ error }) => error?.includes('no agent answers') === true),
    );
    mesh.agents.splice(mesh.agents.indexOf(agent), 1);
    agent = await mesh.agent('near', { app: 'shop', admin: { port: Number(new URL(admin[1] ?? '').port) } });
    await top.seen('the new one', (stdout) => lines(stdout).some((line) => line.agent?.pid === agent.pid));
    expect(await top.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});

describe('which agent it is', () => {
  it('stands in status, metrics, log and under /agent', async () => {
    const identity = await agent.get<IdentityView>('/agent');
    expect(identity).toMatchObject({ app: 'shop', pid: agent.pid, node: process.version });
    expect(identity.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(identity.configHash).toMatch(/^[0-9a-f]{12}$/);
    expect(identity.uptimeMs).toBeGreaterThan(0);
    const { version, commit, pid, configHash } = identity;
    const { stdout } = await status();
    const named = commit === null ? version : `${version} (${commit})`;
    expect(stdout).toMatch(/^ready\n/);
    expect(stdout).toContain(`\nringside ${named}, app shop, pid ${pid}, up `);
    expect(stdout).toContain(`config ${configHash}\n`);
    const metrics = await (await fetch(`${agent.adminUrl}/metrics`)).text();
    const info = /^ringside_build_info\{(.*)\} 1$/m.exec(metrics)?.[1];
    for (const label of [`version="${version}"`, `commit="${commit ?? ''}"`, `pid="${pid}"`, 'app="shop"'])
      expect(info).toContain(label);
    expect(info).toContain(`config_hash="${configHash}"`);
    expect(metrics).toMatch(/^ringside_uptime_seconds \d/m);
    const line = await agent.logged('its begin', ({ msg }) => msg === 'the agent starts');
    expect(line).toMatchObject({ version, commit, pid, app: 'shop', configHash });
  });

  it('the configuration’s hash changes with it, and the log says to what', async () => {
    const before = await agent.get<IdentityView>('/agent');
    agent.change({ timeouts: { defaultMs: 1_234 } });
    const line = await agent.logged('the reload', ({ msg }) => msg === 'the configuration was reloaded');
    const after = await agent.get<IdentityView>('/agent');
    expect(after.configHash).not.toBe(before.configHash);
    expect(line['configHash']).toBe(after.configHash);
  });
});
