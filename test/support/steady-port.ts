// Ports of this machine that stay a process's own while it is down: what is started again is to be found where it was. They lie below those that the
// kernel gives to whoever asks for any, and each of the test processes of a run has a stretch to itself.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processExists } from './proc-facts.js';

const lowest = 16_000;
/** Where the kernel's own choices begin (Linux's default), and ours end. */
const end = 32_768;
const stretches = 16;
const stretch = Math.floor((end - lowest) / stretches);
const own = lowest + (Number(process.env['VITEST_POOL_ID'] ?? 0) % stretches) * stretch;
// Not from its first one: another run of the tests, or one that has just ended, may have begun there.
let used = (process.pid * 61) % stretch;

/** A port that nobody has, and that nobody but this test gets. */
export function steadyPort(): number {
  const taken = portsTaken();
  for (let tried = 0; tried < stretch; tried++) {
    const port = own + (used++ % stretch);
    if (!taken.has(port) && claim(port)) return port;
  }
  throw new Error(`all ports from ${own} on are taken`);
}

// Between the choice of a port and the moment when its process listens there, and while that process is down, only these files keep
// another run of the tests on this machine from choosing it too.
const claims = join(tmpdir(), `ringside-test-ports-${process.getuid?.()}`);
const claimed: string[] = [];
process.once('exit', () => {
  for (const file of claimed) rmSync(file, { force: true });
});

/** Makes a port this process's own until it ends; false if it is that of another one that lives. */
function claim(port: number): boolean {
  const file = join(claims, String(port));
  mkdirSync(claims, { recursive: true });
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
  } catch {
    // Left by one that was killed. Two that find it at once both go on to another port.
    const owner = ownerOf(file);
    if (owner > 0 && !processExists(owner)) rmSync(file, { force: true });
    return false;
  }
  claimed.push(file);
  return true;
}

/** The process that claimed a port; 0 if it is just writing its claim, or has just taken it back. */
function ownerOf(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
}

/** The local ports of all sockets, whatever their state. */
function portsTaken(): Set<number> {
  const ports = new Set<number>();
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6'].filter(existsSync)) {
    for (const [, port = ''] of readFileSync(file, 'utf8').matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) /gm))
      ports.add(Number.parseInt(port, 16));
  }
  return ports;
}
