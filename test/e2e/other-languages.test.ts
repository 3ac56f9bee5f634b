// The examples in PHP and Python, served and called through two agents with nothing but the languages' usual Redis clients; and what their
// callers, and those in C, build on: a pipelined batch on one connection is a parallel fan-out.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, CallFailure } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldServer } from '../support/old-server.js';
import {
  compileHiredisBatch,
  example,
  hasHiredis,
  hasPhpredis,
  hasRedisPy,
  OtherProgram,
} from '../support/other-program.js';
import { inTime, until } from '../support/until.js';

const mesh = new Mesh();
const programs: OtherProgram[] = [];
let near: AgentProcess;
let far: AgentProcess;
let client: AppProcess;
/** Answers none of a batch before it has all of them, and then the last one first. */
let meeting: OldServer;
const together = 12;

beforeAll(async () => {
  [near, far] = await Promise.all([mesh.agent('near'), mesh.agent('far')]);
  client = await mesh.client('client', near);
  const waiting: (() => void)[] = [];
  meeting = await OldServer.start(async ({ params: { m, args } }) => {
    if (m === 'meet') {
      await new Promise<void>((resolve) => {
        if (waiting.push(resolve) < together) return;
        // One after the other in the turns of the event loop, so that they leave in this order.
        const next = (): void => {
          waiting.pop()?.();
          if (waiting.length > 0) setImmediate(next);
        };
        next();
      });
    }
    return { ec: 200, em: '', result: args };
  });
});
afterAll(async () => {
  await mesh.close();
  await meeting.close();
  await Promise.all(programs.map((program) => program.kill()));
});

function publish(...entries: object[]): void {
  const healthCheck = { intervalMs: 50, failures: 2 };
  far.change({ publish: entries.map((entry) => ({ protocol: 'legacy', healthCheck, ...entry })) });
}

async function greeted(service: string): Promise<string> {
  const { body } = await client.call(service, 'greet', '["Grace"]');
  return JSON.parse(body.toString()) as string;
}
const reached = (service: string): Promise<string> =>
  until(`calls to reach ${service}`, () =>
    greeted(service).catch((error: CallFailure) => {
      if (error.status !== 'UNAVAILABLE') throw error;
      return undefined;
    }),
  );

/** Runs a program to its end, without holding up this process, which serves what it calls. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  try {
    const code = await inTime(
      `${program} ${args[0]}`,
      new Promise<number | null>((resolve) => child.on('close', resolve)),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  } finally {
    child.kill('SIGKILL');
  }
  return stdout;
}

const languages = [
  { name: 'Python', folder: 'python', extension: 'py', there: hasRedisPy },
  { name: 'PHP', folder: 'php', extension: 'php', there: hasPhpredis },
];
describe.each(languages)('the example in $name', ({ folder, extension, there }) => {
  const service = `/service/${folder}-example`;

  it.skipIf(!there)('serves, and is called by the one that calls', async () => {
    const server = await OtherProgram.serve(`${folder}/serve.${extension}`);
    programs.push(server);
    publish({ service, address: server.address });
    expect(await reached(service)).toBe('Hello, Grace!');
    const [program, script] = example(`${folder}/call.${extension}`);
    const out = await run(program, [script, String(near.loopback), service]);
    expect(out.replaceAll(' ', '')).toBe('Hello,Ada!\n[1,2,3,4,5,6,7,8,9,10]\n');
    await expect(client.call(service, 'sum', '["a"]')).rejects.toMatchObject({ status: 'UNKNOWN' });
    await expect(client.call(service, 'nothing', '[]')).rejects.toMatchObject({ status: 'UNIMPLEMENTED' });

    await server.kill();
    await until('it to be failing', async () => {
      const [view] = await far.get<{ state: string }[]>('/programs');
      return view?.state === 'failing';
    });
    await expect(greeted(service)).rejects.toMatchObject({ status: 'UNAVAILABLE', mayHaveRun: false });
    programs.push(await OtherProgram.serve(`${folder}/serve.${extension}`, server.port));
    expect(await reached(service)).toBe('Hello, Grace!');
  });
});

describe('a pipelined batch on one connection runs in parallel and is answered in order', () => {
  const service = '/service/meeting';
  const expected = JSON.stringify(Array.from({ length: together }, (_, i) => [i]));
  beforeAll(async () => {
    publish({ service, address: meeting.address });
    await until('calls to reach it', () =>
      client.call(service, 'echo', '[]').then(
        () => true,
        () => false,
      ),
    );
  });

  it.skipIf(!hasPhpredis)('phpredis', async () => {
    const program = `
$agent = new Redis(); $agent->connect('127.0.0.1', (int)$argv[1]); $batch = $agent->pipeline();
for ($i = 0; $i < ${together}; $i++) $batch->get(json_encode(['action' => '${service}', 'params' => ['m' => 'meet', 'args' => [$i]]]));
echo json_encode(array_map(fn ($reply) => json_decode($reply, true)['result'], $batch->exec()));`;
    expect(await run('php', ['-r', program, '--', String(near.loopback)])).toBe(expected);
  });

  it.skipIf(!hasHiredis)('hiredis', async () => {
    const requests = Array.from({ length: together }, (_, i) =>
      JSON.stringify({ action: service, params: { m: 'meet', args: [i] } }),
    );
    const directory = mkdtempSync(join(tmpdir(), 'ringside-hiredis-'));
    try {
      const program = compileHiredisBatch(directory);
      const answers = (await run(program, [String(near.loopback), ...requests])).trimEnd().split('\n');
      const results = answers.map((answer) => (JSON.parse(answer) as { result: unknown }).result);
      expect(JSON.stringify(results)).toBe(expected);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.skipIf(!hasRedisPy)('redis-py', async () => {
    const program = `
import json, redis, sys
batch = redis.Redis(port=int(sys.argv[1])).pipeline(transaction=False)
for i in range(${together}): batch.get(json.dumps({"action": "${service}", "params": {"m": "meet", "args": [i]}}))
print(json.dumps([json.loads(reply)["result"] for reply in batch.execute()], separators=(",", ":")), end="")`;
    expect(await run(example('python/call.py')[0], ['-c', program, String(near.loopback)])).toBe(expected);
  });
});
