// Limits of a running process, lowered and given back from outside with prlimit (util-linux). Only the soft limit moves, which needs no privilege.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';

/** Leaves a process room for `free` more descriptors. @returns gives the old limit back */
export function leaveDescriptors(pid: number, free: number): () => void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 0;
  for (let left = free; ; limit++) {
    if (open.has(limit)) continue;
    if (left === 0) break;
    left -= 1;
  }
  return lower(pid, 'nofile', 'Max open files', limit);
}

/** Leaves a process room for `freeBytes` more of address space. @returns gives the old limit back */
export function leaveMemory(pid: number, freeBytes: number): () => void {
  const kilobytes = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return lower(pid, 'as', 'Max address space', Number(kilobytes) * 1024 + freeBytes);
}

/** Refuses a process to make files longer than `bytes`, also in memory. @returns gives the old limit back */
export function refuseFilesOver(pid: number, bytes: number): () => void {
  return lower(pid, 'fsize', 'Max file size', bytes);
}

function lower(pid: number, name: string, title: string, soft: number): () => void {
  const line = readFileSync(`/proc/${pid}/limits`, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(title));
  const before = /(\d+|unlimited)/.exec((line ?? '').slice(title.length))?.[1];
  if (before === undefined) throw new Error(`no limit "${title}" of process ${pid}`);
  // As the process's own user: in a container root may not do it to others.
  const { uid, gid } = statSync(`/proc/${pid}`);
  const set = (value: number | string): void =>
    void execFileSync('prlimit', ['--pid', String(pid), `--${name}=${value}:`], { uid, gid });
  set(soft);
  return () => set(before);
}
