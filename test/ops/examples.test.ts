// The examples for Kubernetes and systemd hold what they promise: configurations that are valid, times that fit each other, paths that are mounted.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseAgentConfig } from '../../src/config/load-config.js';
import { thisMachine } from '../../src/config/resolve-config.js';
import type { Machine } from '../../src/config/resolve-config.js';
import { parseOpsConfig } from '../../src/ops/config.js';

const directory = mkdtempSync(join(tmpdir(), 'ringside-examples-'));
afterAll(() => rmSync(directory, { recursive: true }));
/** Its configuration is for many machines; this one may have no network. */
const machine: Machine = {
  ...thisMachine(),
  addresses: [{ address: '192.0.2.1', family: 'IPv4', internal: false }],
};
const read = (file: string): string =>
  readFileSync(new URL(`../../examples/${file}`, import.meta.url), 'utf8');

interface Probe {
  httpGet: { path: string; port: string };
}
interface Container {
  name: string;
  command: string[];
  restartPolicy?: string;
  ports: { name: string; containerPort: number }[];
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
}

describe('examples/kubernetes', () => {
  const [configMap, pod] = parseAllDocuments(read('kubernetes/pod.yaml')).map(
    (document) => document.toJS() as unknown,
  ) as [
    { data: Record<string, string> },
    {
      spec: {
        terminationGracePeriodSeconds: number;
        initContainers: Container[];
        containers: Container[];
        volumes: { name: string }[];
      };
    },
  ];
  const sidecar = pod.spec.initContainers[0] as Container;
  const app = pod.spec.containers[0] as Container;
  const token = join(directory, 'token');
  writeFileSync(token, 'a-token-of-the-test');
  const text = (configMap.data['ops.yaml'] ?? '').replace('/etc/ringside-token/token', token);
  const ops = parseOpsConfig(text, 'ops.yaml', '/etc/ringside');
  const agent = parseAgentConfig(configMap.data['agent.yaml'] ?? '', { directory: '/etc/ringside', machine });

  it('has valid configurations that fit each other and the ports', () => {
    expect(sidecar.command).toEqual(['ringside', 'ops', '--config', '/etc/ringside/ops.yaml']);
    expect(ops.agent.config).toBe('/etc/ringside/agent.yaml');
    expect(ops.agent.admin).toBe(`http://127.0.0.1:${agent.admin.port}`);
    const ports = Object.fromEntries(sidecar.ports.map(({ name, containerPort }) => [name, containerPort]));
    expect(ports).toEqual({ mesh: agent.inbound.port, admin: agent.admin.port, ops: ops.http.tcp?.port });
    expect(ops.agent.stopMs).toBeGreaterThan(agent.timeouts.drainMs);
    expect(pod.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(ops.agent.stopMs);
    expect(ops.agent.startMs).toBeGreaterThan(agent.takeover.deadlineMs);
  });

  it('is a native sidecar, with probes that the admin server answers', () => {
    expect(sidecar.restartPolicy).toBe('Always');
    for (const [probe, path] of [
      [sidecar.startupProbe, '/live'],
      [sidecar.livenessProbe, '/live'],
      [sidecar.readinessProbe, '/ready'],
    ] as const)
      expect(probe.httpGet).toEqual({ path, port: 'admin' });
  });

  it('shares the socket with the application, and nothing else', () => {
    const mountsOf = ({ volumeMounts }: Container): string[] =>
      volumeMounts.map(({ mountPath }) => mountPath);
    expect(mountsOf(app)).toEqual([dirname(agent.socket.path)]);
    for (const path of [ops.directory, dirname(agent.socket.path), '/etc/ringside', '/etc/ringside-token'])
      expect(mountsOf(sidecar)).toContain(path);
    for (const path of [agent.takeover.path, agent.registry.cacheFile])
      expect(path.startsWith(`${ops.directory}/`)).toBe(true);
    expect(app.volumeMounts.every(({ readOnly }) => readOnly)).toBe(true);
    const volumes = pod.spec.volumes.map(({ name }) => name);
    for (const { name } of [...sidecar.volumeMounts, ...app.volumeMounts]) expect(volumes).toContain(name);
  });
});

it('examples/kubernetes/README.md selects the pod by labels that it has', () => {
  const [, selector = ''] = /-l (\S+)/.exec(read('kubernetes/README.md')) ?? [];
  const [, pod] = parseAllDocuments(read('kubernetes/pod.yaml')).map(
    (document) => document.toJS() as unknown,
  );
  const [key = '', value] = selector.split('=');
  expect(pod).toMatchObject({ metadata: { labels: { [key]: value } } });
});

describe('examples/systemd', () => {
  const unit = new Map(
    read('systemd/ringside.service')
      .split('\n')
      .flatMap((line) => {
        const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
        return key === undefined || value === undefined ? [] : [[key, value] as const];
      }),
  );
  const ops = parseOpsConfig(read('systemd/ops.yaml'), 'ops.yaml', '/etc/ringside');
  const agent = parseAgentConfig(read('systemd/agent.yaml'), { directory: '/etc/ringside' });

  const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
  if (!hasSystemd) console.warn('SKIPPED: there is no systemd-analyze to look at the unit');
  it.skipIf(!hasSystemd)('is a unit that systemd understands', () => {
    const file = join(directory, 'ringside.service');
    // The command must be there.
    writeFileSync(file, read('systemd/ringside.service').replaceAll('/usr/bin/ringside', process.execPath));
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
  });

  it('lets the agent outlive its ops agent, and gives it time to end', () => {
    expect(unit.get('KillMode')).toBe('process');
    expect(unit.get('Restart')).toBe('always');
    expect(unit.get('ExecStart')).toBe('/usr/bin/ringside ops --config /etc/ringside/ops.yaml');
    expect(Number(unit.get('TimeoutStopSec')) * 1000).toBeGreaterThan(ops.agent.stopMs);
    expect(Number(unit.get('LimitNOFILE'))).toBeGreaterThan(4 * agent.limits.links);
  });

  it('keeps everything where the service may write', () => {
    expect(ops.directory).toBe(`/var/lib/${unit.get('StateDirectory')}`);
    expect(dirname(agent.socket.path)).toBe(`/run/${unit.get('RuntimeDirectory')}`);
    expect(agent.takeover.path.startsWith(`${ops.directory}/`)).toBe(true);
    expect(ops.agent.config).toBe('/etc/ringside/agent.yaml');
  });
});
