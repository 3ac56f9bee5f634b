// Small file systems of a test's own (tmpfs), which it can fill. Only root may mount one; where that cannot be, tests that need one are skipped,
// and say so.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Mounts one on a directory. @returns takes it away again, with what may still use it */
export function mountTmpfs(path: string, options: string): () => void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'pipe' });
  return () => void execFileSync('umount', ['--lazy', path]);
}

/** Leaves no block of it free but `freeBytes`, which are whole pages. @returns frees the rest */
export function fillDisk(path: string, freeBytes = 0): () => void {
  const filler = join(path, 'filler');
  const { bavail, bsize } = statfsSync(path);
  writeFileSync(filler, Buffer.alloc(bavail * bsize - freeBytes));
  return () => rmSync(filler);
}

/** Why none can be mounted here; undefined if one can. */
export const mountProblem: string | undefined = (() => {
  const trial = mkdtempSync(join(tmpdir(), 'ringside-mount-'));
  try {
    mountTmpfs(trial, 'size=64k')();
    return undefined;
  } catch (error) {
    return String(error).split('\n')[1] ?? String(error);
  } finally {
    rmSync(trial, { recursive: true });
  }
})();
