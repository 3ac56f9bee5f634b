// What the kernel says about a process, from /proc: descriptors, mappings of shared memory, whether it still is there.
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** What each open descriptor of a process points to. */
export function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // closed between the two looks
    }
  });
}

/** The processes that a process has started and that are its children still. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Number of open descriptors. */
export function fdCount(pid: number): number {
  return openFiles(pid).length;
}

/**
 * Number of open descriptors that last: not those of files and directories, which are open while they are read or written, nor
 * those of connections to one port of the process, where who asks for its facts leaves some idle.
 */
export function lastingFdCount(pid: number, exceptPort?: number): number {
  const [, ...rows] = readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split(/\n */)
    .map((row) => row.split(/ +/));
  const ofPort = rows.filter(([, local]) => Number.parseInt(local?.split(':')[1] ?? '', 16) === exceptPort);
  const excepted = new Set(ofPort.map((row) => `socket:[${row[9]}]`));
  const lasts = (file: string): boolean =>
    file.startsWith('/') ? file.startsWith('/memfd:') : !excepted.has(file);
  return openFiles(pid).filter(lasts).length;
}

/** Memory of its own that a process has resident: heaps and stacks, neither files nor shared memory. */
export function anonymousBytes(pid: number): number {
  const found = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (!found) throw new Error(`the kernel does not say how much memory process ${pid} has`);
  return Number(found[1]) * 1024;
}

/** Segments of shared memory that a process has mapped. */
export function memfdMappings(pid: number): number {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .filter((line) => line.includes('/memfd:')).length;
}

/** Whether a process with this id exists and is no zombie. */
export function processExists(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** How long a process has had a core so far, with all its threads, in milliseconds. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  // In hundredths of a second on every Linux that Node runs on.
  return (Number(user) + Number(system)) * 10;
}
