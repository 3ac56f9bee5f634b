// Starts test/support/fake-agent.py and talks to it in lines; also makes the frames that the tests of the app link
// exchange. Used by test/native.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('fake-agent.py', import.meta.url));

/** A frame with its fixed part right and a body of one repeated byte. */
export function makeFrame(type: number, requestId: number, bodyBytes: number, value = 0): Buffer {
  const frame = Buffer.alloc(32 + bodyBytes, requestId & 0xff);
  frame.fill(0, 0, 32);
  frame.writeUInt16LE(0x52f5, 0);
  frame.writeUInt8(1, 2);
  frame.writeUInt8(type, 3);
  frame.writeUInt32LE(bodyBytes, 12);
  frame.writeBigUInt64LE(BigInt(requestId), 16);
  frame.writeUInt32LE(value, 28);
  return frame;
}

export const makeRequest = (id: number, bodyBytes: number): Buffer => makeFrame(1, id, bodyBytes);
export const makeHello = (ringBytes: number): Buffer => makeFrame(10, 0, 0, ringBytes);
/** The last piece of a body. */
export const makeChunk = (id: number, bodyBytes: number): Buffer => makeFrame(4, id, bodyBytes);

/** A scripted agent in a process of its own. */
export class FakeAgent {
  readonly socketPath: string;
  readonly #directory: string;
  readonly #process;
  readonly #lines: string[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  private constructor() {
    this.#directory = mkdtempSync(path.join(tmpdir(), 'ringside-'));
    this.socketPath = path.join(this.#directory, 'agent.sock');
    this.#process = spawn('python3', [script, this.socketPath], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process.on('exit', () => {
      this.#ended = true;
      this.#wake?.();
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#wake?.();
    });
  }

  static async start(): Promise<FakeAgent> {
    const agent = new FakeAgent();
    await agent.expect('ready');
    return agent;
  }

  /** Sends a command; what it answers is for `expect`. */
  send(...words: (string | number)[]): void {
    this.#process.stdin.write(`${words.join(' ')}\n`);
  }

  /** The next line, whatever it says. */
  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#ended) throw new Error('the fake agent has ended');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#lines.shift() as string;
  }

  /** The next line, which must begin with `word`. Returns its rest. */
  async expect(word: string): Promise<string> {
    const line = await this.line();
    if (line.split(' ', 1)[0] !== word) {
      throw new Error(`expected "${word}", the fake agent said "${line.slice(0, 200)}"`);
    }
    return line.slice(word.length + 1);
  }

  async stop(): Promise<void> {
    if (!this.#ended) {
      const exited = new Promise((resolve) => this.#process.once('exit', resolve));
      this.#process.stdin.end();
      await exited;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
