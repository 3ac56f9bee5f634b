// Ports of this machine that stay a process's own while it is down: what is started again is to be found where it was. They lie below those that the
// kernel gives to whoever asks for any, and each of the test processes that run side by side has a stretch to itself.
import { existsSync, readFileSync } from 'node:fs';

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
    if (!taken.has(port)) return port;
  }
  throw new Error(`all ports from ${own} on are taken`);
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
