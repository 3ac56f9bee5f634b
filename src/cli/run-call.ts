// `ringside call`: the curl of the mesh. The body goes to standard output as it came; a failed call prints its status, its text and whether
// it may have run, and exits 1.
import { readFileSync } from 'node:fs';
import { MeshError, errorText } from '../base/errors.js';
import type { Client } from '../sdk/client.js';
import { connect } from '../sdk/connect.js';
import type { MeshOptions } from '../sdk/types.js';
import { ExitError } from './exit-error.js';

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
  const body = readBody(options.body);
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
      print({ status: 'OK', body: reply.body.toString('utf8'), attachments: answered, tookUs, transport });
    } else {
      process.stdout.write(reply.body);
      if (process.stdout.isTTY) process.stdout.write('\n');
    }
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    const { status, message, retryable, mayHaveRun } = error;
    if (!options.json) {
      const ran = mayHaveRun ? 'it may have run' : 'it has not run';
      throw new ExitError(`${status}: ${message} (${ran})`, 1);
    }
    print({ status, message, retryable, mayHaveRun, transport: client?.transport ?? 'none' });
    throw new ExitError('', 1);
  } finally {
    await client?.close();
  }
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function readBody(body: string): Uint8Array | string {
  if (body !== '-' && !body.startsWith('@')) return body;
  try {
    return readFileSync(body === '-' ? 0 : body.slice(1));
  } catch (error) {
    throw new ExitError(`--body ${body}: ${errorText(error)}`, 2);
  }
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  if (at <= 0) throw new ExitError(`--attach ${pair}: expected key=value`, 2);
  return [pair.slice(0, at), pair.slice(at + 1)];
}
