// A unix datagram socket that listens, as a service manager does. Node has none, so Python does it.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { until } from './until.js';

const script = `
import json, os, socket, sys
name = sys.argv[1]
listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listening.bind("\\0" + name[1:] if name.startswith("@") else name)
print(json.dumps("listening"), flush=True)
while True:
    print(json.dumps(listening.recv(65536).decode()), flush=True)
`;

/** See the file's head. */
export class DatagramListener {
  /** What came so far, one string for each datagram. */
  readonly received: string[] = [];
  readonly #process: ChildProcess;

  /** @param address a path, or `@` and an abstract name */
  static async at(address: string): Promise<DatagramListener> {
    const listener = new DatagramListener(address);
    await until(`datagrams at ${address}`, () => listener.received.shift() === 'listening');
    return listener;
  }

  private constructor(address: string) {
    this.#process = spawn('python3', ['-c', script, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (!this.#process.stdout) throw new Error('no output of the listener');
    createInterface(this.#process.stdout).on('line', (line) =>
      this.received.push(JSON.parse(line) as string),
    );
  }

  close(): void {
    this.#process.kill('SIGKILL');
  }
}
