// What `ringside doctor` looks at, one function per finding. Everything they want to know about the machine comes through `Machine`, so that
// tests describe machines that are not at hand. A check never throws: what cannot be read is a finding of its own.
import { dirname } from 'node:path';

/** How a finding is to be taken: `warn` works but costs, `fail` does not work. */
export type Severity = 'ok' | 'warn' | 'fail';

/** One finding, with what to do unless all is well. */
export interface Finding {
  check: string;
  severity: Severity;
  found: string;
  advice?: string;
}

/** What is asked of the machine. */
export interface Machine {
  readonly platform: string;
  readonly kernelRelease: string;
  /** Processors this process may use. */
  readonly processors: number;
  readonly uid: number;
  /** Content of a small file, trimmed; undefined if it cannot be read. */
  read(path: string): string | undefined;
  /** Facts about a path; undefined if it does not exist, `hidden` if this user may not look. */
  stat(path: string): PathFacts | 'hidden' | undefined;
  /** Whether this user may connect to the socket there, as far as its file says. */
  mayWrite(path: string): boolean;
  /** Undefined if the addon loads, else why not. */
  addonProblem(): string | undefined;
  /** Undefined if the kernel tells who is at the other end of a TCP connection, else why not. */
  readonly peersProblem: string | undefined;
}

export interface PathFacts {
  mode: number;
  uid: number;
  isSocket: boolean;
  isDirectory: boolean;
}

type Check = (machine: Machine, options: DoctorOptions) => Finding | undefined;

/** What the checks need to know about the agent that is meant. */
export interface DoctorOptions {
  /** Its unix socket, or `tcp://host:port`. */
  address: string;
  /** How an attempt to open a link to it ended; it is made where something listens. */
  attempt: Attempt | undefined;
  /** `limits.links` of its configuration. */
  links: number;
  loopback: { enabled: boolean; port: number; allowUids: readonly number[] | 'any'; token: string | null };
  inbound: { port: number };
}

/** The transport that an application of this user gets, or why it gets none. */
export type Attempt = { transport: string } | { problem: string };

/** All findings, in the order in which they matter. */
export function examine(machine: Machine, options: DoctorOptions): Finding[] {
  return checks
    .map((check) => check(machine, options))
    .filter((finding): finding is Finding => finding !== undefined);
}

const platform: Check = ({ platform, kernelRelease }) => {
  const check = 'kernel';
  if (platform !== 'linux') {
    return {
      ...{ check, severity: 'fail', found: platform },
      advice: 'The agent needs Linux. Applications elsewhere can reach an agent over TCP.',
    };
  }
  const [major = 0, minor = 0] = kernelRelease.split('.').map((part) => Number.parseInt(part, 10));
  if (major > 5 || (major === 5 && minor >= 4))
    return { check, severity: 'ok', found: `Linux ${kernelRelease}` };
  return {
    ...{ check, severity: 'warn', found: `Linux ${kernelRelease}` },
    advice: 'Tested from 5.4 on (sealed memfds, wake-ups of edge-triggered pipes). Use a newer kernel.',
  };
};

const addon: Check = (machine) => {
  const problem = machine.addonProblem();
  if (problem === undefined) return { check: 'native addon', severity: 'ok', found: 'loads' };
  return {
    ...{ check: 'native addon', severity: 'fail', found: problem },
    advice:
      'Without it there is no agent and no shared memory; applications still speak frames over a socket.',
  };
};

const openFiles: Check = (machine, { links }) => {
  const check = 'open files';
  const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec(machine.read('/proc/self/limits') ?? '');
  if (!line) return unreadable(check, '/proc/self/limits');
  const soft = line[1] === 'unlimited' ? Infinity : Number(line[1]);
  // A shared-memory link takes four: socket, segment, eventfd, pipe.
  const needed = links * 4 + 64;
  const found = `soft limit ${line[1]}, hard limit ${line[2]}`;
  if (soft >= needed) return { check, severity: 'ok', found };
  return {
    ...{ check, severity: 'warn', found },
    advice: `limits.links is ${links}; ${needed} descriptors are needed if all of them use shared memory. Raise it (ulimit -n, LimitNOFILE=) or lower limits.links.`,
  };
};

const lockedMemory: Check = (machine) => {
  const check = 'locked memory';
  const line = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(machine.read('/proc/self/limits') ?? '');
  if (!line) return unreadable(check, '/proc/self/limits');
  return {
    check,
    severity: 'ok',
    found: `limit ${line[1]}; nothing is locked, segments are pre-faulted instead`,
  };
};

const processors: Check = ({ processors: count }) => {
  const check = 'processors';
  if (count >= 2) return { check, severity: 'ok', found: `${count}` };
  return {
    ...{ check, severity: 'warn', found: `${count}` },
    advice: 'Application and agent take turns on one processor; give the pod two for steady latency.',
  };
};

const idleProcessors: Check = (machine) => {
  const check = 'idle processors';
  const driver = machine.read('/sys/devices/system/cpu/cpuidle/current_driver') ?? 'none';
  const governor = machine.read('/sys/devices/system/cpu/cpuidle/current_governor_ro') ?? 'none';
  const isVirtual = / hypervisor( |$)/m.test(machine.read('/proc/cpuinfo') ?? '');
  const found = `driver ${driver}, governor ${governor}${isVirtual ? ', virtual machine' : ''}`;
  if (!isVirtual || governor === 'haltpoll' || driver === 'haltpoll') return { check, severity: 'ok', found };
  return {
    ...{ check, severity: 'warn', found },
    advice:
      'An idle processor of a virtual machine halts, and waking it costs some 20 µs on each hop at low load. `modprobe cpuidle_haltpoll` in the guest, or haltpoll in the host, makes it wait a little first.',
  };
};

const containerCpu: Check = (machine) => {
  const check = 'container: processor time';
  const limit = machine.read('/sys/fs/cgroup/cpu.max');
  if (limit === undefined || limit.startsWith('max')) return { check, severity: 'ok', found: 'no limit' };
  const [quotaUs = 0, periodUs = 1] = limit.split(' ').map(Number);
  return {
    ...{
      check,
      severity: 'warn',
      found: `${(quotaUs / periodUs).toFixed(2)} processors per ${periodUs / 1000} ms`,
    },
    advice:
      'When the quota is used up everything in the container stands still until the period ends: latency tails come from here.',
  };
};

const containerMemory: Check = (machine) => {
  const check = 'container: memory';
  const limit = machine.read('/sys/fs/cgroup/memory.max');
  if (limit === undefined || limit === 'max') return { check, severity: 'ok', found: 'no limit' };
  const mib = Math.floor(Number(limit) / 2 ** 20);
  if (mib >= 256) return { check, severity: 'ok', found: `${mib} MiB` };
  return {
    ...{ check, severity: 'warn', found: `${mib} MiB` },
    advice: 'An agent takes some 60 MiB and, per link, two rings (shm.ringBytes) that are charged to it.',
  };
};

const socket: Check = (machine, { address }) => {
  const check = 'agent socket';
  if (isTcp(address))
    return { check, severity: 'ok', found: `none is looked for: the agent is at ${address}` };
  const facts = machine.stat(address);
  const directory = dirname(address);
  if (facts === 'hidden') {
    return {
      ...{ check, severity: 'fail', found: closedDirectory(machine, directory) },
      advice: `User ${machine.uid} may not look there. Whoever runs that agent opens it: socket.path in a directory that others may enter, socket.group and socket.mode, and this user in socket.allowUids.`,
    };
  }
  if (facts === undefined) {
    const above = machine.stat(directory);
    const found = above === undefined ? `${directory} does not exist` : `${address} does not exist`;
    return {
      check,
      severity: 'warn',
      found,
      advice: 'No agent runs there. Start one, or name its socket with --agent.',
    };
  }
  if (!facts.isSocket) {
    return {
      check,
      severity: 'fail',
      found: `${address} is no socket`,
      advice: 'Remove it; the agent will not.',
    };
  }
  const found = `${address}, ${modeAndOwner(facts)}`;
  if (machine.mayWrite(address)) return { check, severity: 'ok', found };
  return {
    ...{ check, severity: 'fail', found },
    advice: `User ${machine.uid} may not connect: set socket.group and socket.mode, and add the user to socket.allowUids.`,
  };
};

/** Whether an application of this user would get a link, and which. */
const agent: Check = (_machine, { address, attempt }) => {
  const check = 'agent';
  if (attempt === undefined) return undefined; // the socket has its own finding then
  if ('transport' in attempt) return { check, severity: 'ok', found: `answers over ${attempt.transport}` };
  return {
    ...{ check, severity: 'fail', found: attempt.problem },
    advice: `An application of this user gets no link to ${address}.`,
  };
};

/** Whether an address is not a unix socket's. */
export function isTcp(address: string): boolean {
  return address.startsWith('tcp://');
}

/** The directory, at or above `path`, that this user may not enter. */
function closedDirectory(machine: Machine, path: string): string {
  let closed = path;
  let facts = machine.stat(closed);
  while (facts === 'hidden' && closed !== dirname(closed)) {
    closed = dirname(closed);
    facts = machine.stat(closed);
  }
  return `${closed} is closed${facts === undefined || facts === 'hidden' ? '' : `, ${modeAndOwner(facts)}`}`;
}

function modeAndOwner({ mode, uid }: PathFacts): string {
  return `mode ${(mode & 0o777).toString(8)}, owner ${uid}`;
}

const loopbackPort: Check = ({ peersProblem }, { loopback: { enabled, port, allowUids, token } }) => {
  const check = 'loopback port';
  if (!enabled) return { check, severity: 'ok', found: 'off' };
  if (token === null && allowUids === 'any') {
    return {
      ...{ check, severity: 'warn', found: `port ${port}, for every local user` },
      advice:
        'Whoever reaches it calls, publishes any service and receives its requests. Name the users in loopback.allowUids, or set loopback.token.',
    };
  }
  if (token === null && peersProblem !== undefined) {
    return {
      ...{ check, severity: 'warn', found: `port ${port}; users cannot be told: ${peersProblem}` },
      advice: 'So nobody is let in there. Set loopback.token, and RINGSIDE_TOKEN for the applications.',
    };
  }
  const users = allowUids === 'any' ? 'any user' : `uid ${allowUids.join(', ')}`;
  return {
    check,
    severity: 'ok',
    found: `port ${port}, for ${users}${token === null ? '' : ' with the token'}`,
  };
};

const inboundPort: Check = (_machine, { inbound: { port } }) => ({
  ...{ check: 'inbound port', severity: 'ok', found: `port ${port}, without TLS` },
  advice:
    'Whoever reaches it, any local user included, may call the services beside this agent: agents do not prove who they are yet. Keep others off it with a firewall where that matters.',
});

const clock: Check = (machine) => {
  const check = 'clock source';
  const source = machine.read('/sys/devices/system/clocksource/clocksource0/current_clocksource');
  if (source === undefined) return unreadable(check, 'the clock source');
  if (['tsc', 'kvm-clock', 'arch_sys_counter', 'hyperv_clocksource_tsc_page'].includes(source)) {
    return { check, severity: 'ok', found: source };
  }
  return {
    ...{ check, severity: 'warn', found: source },
    advice: 'Reading this clock enters the kernel each time. Prefer tsc or kvm-clock.',
  };
};

const checks: readonly Check[] = [
  ...[platform, addon, socket, agent, loopbackPort, inboundPort, openFiles, lockedMemory],
  ...[processors, idleProcessors],
  ...[containerCpu, containerMemory, clock],
];

function unreadable(check: string, what: string): Finding {
  return {
    check,
    severity: 'warn',
    found: `${what} cannot be read`,
    advice: 'Is /proc or /sys mounted in this container?',
  };
}
