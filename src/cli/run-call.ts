// `ringside call`: the curl of the mesh. The body goes to standard output as it came, but escaped to a terminal, which it could command; a failed
// call prints its status, its text and whether it may have run, and exits 1.
import { createReadStream } from 'node:fs';
import { MeshError, errorText } from '../base/errors.js';
import { shownLines, shownText } from '../base/shown.js';
import type { Client } from '../sdk/client.js';
import { connect } from '../sdk/connect.js';
import type { MeshOptions } from '../sdk/types.js';
import { ExitError } from './exit-error.js';
import { printJson, write } from './output.js';

/** The SDK's own bound where nothing else is configured. */
const maxBodyBytes = 64 * 1024 * 1024;

export interface CallCommandOptions {
  body: string;
  timeout: number;
  group?: string;
  attach: string[];
  oneWay?: boolean;
  json?: boolean;
  agent?: string;
  transport?: Exclude<MeshOptions['transport'], undefined>;
}

export async function runCall(service: string, method: string, options: CallCommandOptions): Promise<void> {
  const attachments = Object.fromEntries(options.attach.map(splitPair));
  const body = await readBody(options.body);
  const callOptions = {
    timeoutMs: options.timeout,
    ...(options.group === undefined ? {} : { group: options.group }),
    ...(options.attach.length === 0 ? {} : { attachments }),
  };
  let client: Client | undefined;
  try {
    client = await connect({
      app: 'ringside-call',
      ...(options.agent === undefined ? {} : { agent: options.agent }),
      ...(options.transport === undefined ? {} : { transport: options.transport }),
    });
    const { transport } = client;
    const startedMs = performance.now();
    if (options.oneWay) {
      await client.send(service, method, body, callOptions);
      return;
    }
    const reply = await client.call(service, method, body, callOptions);
    const tookUs = Math.round((performance.now() - startedMs) * 1000);
    if (options.json) {
      const { attachments: answered = {} } = reply;
      const text = reply.body.toString('utf8');
      printJson({ status: 'OK', body: text, attachments: answered, tookUs, transport });
    } else {
      write(process.stdout.isTTY ? `${shownLines(reply.body.toString('utf8'))}\n` : reply.body);
    }
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    const { status, message, retryable, mayHaveRun } = error;
    if (!options.json) {
      const ran = mayHaveRun ? 'it may have run' : 'it has not run';
      throw new ExitError(`${status}: ${shownText(message)} (${ran})`, 1);
    }
    printJson({
      ...{ error: message, exitCode: 1, status, message, retryable, mayHaveRun },
      transport: client?.transport ?? 'none',
    });
    throw new ExitError('', 1);
  } finally {
    await client?.close();
  }
}

async function readBody(body: string): Promise<Uint8Array | string> {
  if (body !== '-' && !body.startsWith('@')) return body;
  try {
    return await readWhole(body === '-' ? process.stdin : createReadStream(body.slice(1)));
  } catch (error) {
    throw new ExitError(`--body ${body}: ${errorText(error)}`, 2);
  }
}

/** Not as it comes from the disk: it may be a pipe, or have no end. */
async function readWhole(from: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of from) {
    bytes += piece.length;
    if (bytes > maxBodyBytes) throw new Error(`a body has at most ${maxBodyBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  if (at <= 0) throw new ExitError(`--attach ${pair}: expected key=value`, 2);
  return [pair.slice(0, at), pair.slice(at + 1)];
}
