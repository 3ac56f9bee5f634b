// The findings of `ringside doctor` on machines described here: each condition that it warns of, and the same without it.
import { describe, expect, it } from 'vitest';
import { examine } from '../../src/cli/doctor/checks.js';
import type { DoctorOptions, Finding, Machine } from '../../src/cli/doctor/checks.js';

const limits = (open: string): string =>
  `Max open files            ${open}              524288  files\nMax locked memory  8388608 8388608 bytes`;
const goodFiles: Record<string, string> = {
  '/proc/self/limits': limits('65536'),
  '/proc/cpuinfo': 'flags : fpu vme hypervisor lahf_lm',
  '/sys/devices/system/cpu/cpuidle/current_driver': 'haltpoll',
  '/sys/devices/system/cpu/cpuidle/current_governor_ro': 'haltpoll',
  '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc',
};
const address = '/run/ringside/agent.sock';

const loopback = { enabled: true, port: 15_100, allowUids: [0], token: null };

function findings(
  change: Partial<Machine> = {},
  files: Record<string, string | undefined> = {},
  options: Partial<DoctorOptions> = {},
): Map<string, Finding> {
  const all = { ...goodFiles, ...files };
  const machine: Machine = {
    ...{ platform: 'linux', kernelRelease: '6.1.0-13', processors: 4, uid: 1000 },
    read: (path) => all[path],
    stat: () => ({ mode: 0o140600, uid: 1000, isSocket: true, isDirectory: false }),
    mayWrite: () => true,
    addonProblem: () => undefined,
    peersProblem: undefined,
    ...change,
  };
  const whole = {
    ...{ address, attempt: { transport: 'shm' }, links: 4096, inbound: { port: 15_101 } },
    loopback,
    ...options,
  };
  return new Map(examine(machine, whole).map((finding) => [finding.check, finding]));
}

describe('doctor', () => {
  it('names the directory that keeps a user out', () => {
    const directory = { isSocket: false, isDirectory: true };
    const found = findings({
      stat: (path) => (path === '/' || path === '/run' ? { ...directory, mode: 0o40710, uid: 0 } : 'hidden'),
    });
    expect(found.get('agent socket')?.found).toBe('/run is closed, mode 710, owner 0');
  });

  it('looks for no socket of an agent at a port', () => {
    const found = findings({ stat: () => undefined }, {}, { address: 'tcp://10.0.0.1:15100' });
    expect(found.get('agent socket')?.severity).toBe('ok');
  });

  it('finds nothing wrong with a good machine', () => {
    expect([...findings().values()].filter(({ severity }) => severity !== 'ok')).toEqual([]);
  });

  it('says whom the loopback port is for', () => {
    const found = (...of: Parameters<typeof findings>): string | undefined =>
      findings(...of).get('loopback port')?.found;
    expect(found()).toBe('port 15100, for uid 0');
    expect(
      found({ peersProblem: 'no answer' }, {}, { loopback: { ...loopback, token: 'secret-token' } }),
    ).toBe('port 15100, for uid 0 with the token');
    expect(found({}, {}, { loopback: { ...loopback, enabled: false } })).toBe('off');
  });

  const cases: [string, string, Map<string, Finding>, RegExp][] = [
    ['kernel', 'fail', findings({ platform: 'darwin' }), /needs Linux/],
    ['kernel', 'warn', findings({ kernelRelease: '4.19.0' }), /newer kernel/],
    ['native addon', 'fail', findings({ addonProblem: () => 'was not built' }), /no shared memory/],
    ['open files', 'warn', findings({}, { '/proc/self/limits': limits('1024') }), /LimitNOFILE/],
    ['processors', 'warn', findings({ processors: 1 }), /two/],
    [
      'idle processors',
      'warn',
      findings(
        {},
        {
          '/sys/devices/system/cpu/cpuidle/current_driver': undefined,
          '/sys/devices/system/cpu/cpuidle/current_governor_ro': 'menu',
        },
      ),
      /haltpoll/,
    ],
    [
      'container: processor time',
      'warn',
      findings({}, { '/sys/fs/cgroup/cpu.max': '50000 100000' }),
      /quota/,
    ],
    ['container: memory', 'warn', findings({}, { '/sys/fs/cgroup/memory.max': String(64 * 2 ** 20) }), /MiB/],
    ['agent socket', 'warn', findings({ stat: () => undefined }), /Start one/],
    ['agent socket', 'fail', findings({ mayWrite: () => false }), /allowUids/],
    [
      'agent socket',
      'fail',
      findings({
        stat: (path) =>
          path === '/run' ? { mode: 0o40700, uid: 0, isSocket: false, isDirectory: true } : 'hidden',
      }),
      /User 1000 may not look there/,
    ],
    ['agent', 'fail', findings({}, {}, { attempt: { problem: 'uid 1000 is not allowed' } }), /no link/],
    [
      'loopback port',
      'warn',
      findings({}, {}, { loopback: { ...loopback, allowUids: 'any' } }),
      /publishes any/,
    ],
    ['loopback port', 'warn', findings({ peersProblem: 'no answer' }), /loopback.token/],
    ['inbound port', 'ok', findings(), /any local user included, may call/],
    [
      'clock source',
      'warn',
      findings({}, { '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'hpet' }),
      /tsc/,
    ],
    ['open files', 'warn', findings({}, { '/proc/self/limits': undefined }), /mounted/],
  ];
  it.each(cases)('%s: %s', (check, severity, found, advice) => {
    const finding = found.get(check);
    expect(finding?.severity).toBe(severity);
    expect(finding?.advice).toMatch(advice);
  });
});
