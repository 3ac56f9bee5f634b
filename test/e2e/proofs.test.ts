// `mayHaveRun: false` is a proof. Calls that follow plans of chance (nested calls, failures of every kind) go over every transport, through
// agents and without; each handler writes down that it ran before it does anything else, and no call that is said not to have run may stand there.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.js';
import type { AppProcess, Failure } from '../support/app-process.js';
import { Mesh } from '../support/mesh.js';
import { OldServer } from '../support/old-server.js';
import { steadyPort } from '../support/steady-port.js';
import { until } from '../support/until.js';

/** What a handler does: these calls, one after the other, then its end. */
interface Plan {
  end: string;
  calls: Call[];
  id?: string;
}
interface Call {
  service: string;
  method: string;
  plan: Plan;
  bytes: number;
  timeoutMs: number;
  cancelAfterMs: number | null;
  attachments: { verdict: string };
}
interface Outcome {
  id: string;
  failed?: Failure;
}

const mesh = new Mesh();
/** Which agent's applications use another one when it is gone. */
const straying = {
  app: 'cron',
  loopback: { token: 'shared-by-the-app' },
  egressFallback: { enabled: true, host: '127.0.0.1', port: 0 },
};
const agents: AgentProcess[] = [];
const callers: AppProcess[] = [];
/** Ids of the plans that ran in the old server, which no log of an app's has. */
const ranInOld: string[] = [];
let old: OldServer;
let far: AgentProcess;
let doomed: AppProcess;
let lives = 0;

/** Its answers to the same plans. Some codes are those with which old servers say that nothing was done. */
const oldCodes: Record<string, number> = { 'pass on': 303, wrap: 3010, claim: 501, nonsense: 504 };
function answerOfOld(plan: Plan | null): { ec: number; em: string } | Promise<never> {
  if (plan === null) return { ec: 200, em: '' };
  const { id, end } = plan;
  ranInOld.push(id!);
  if (end === 'never') return new Promise(() => undefined);
  if (end === 'die') for (const socket of old.connections) socket.destroy();
  return { ec: oldCodes[end] ?? 200, em: '' };
}

/** A filter that throws or rejects where the request's attachment says so; what it throws claims the opposite of the truth. */
const filterSource = `export default {
  name: 'judge',
  onRequest: ({ direction, attachments: { verdict } }) => {
    if (verdict === direction + ' throws') throw Object.assign(new Error('x'), { mayHaveRun: true });
    return verdict === direction + ' rejects' ? { reject: { status: 'ABORTED', message: 'x' } } : undefined;
  },
};`;

async function serveDoomed(): Promise<void> {
  doomed = await mesh.server(`doomed-${lives++}`, far, { service: 'doomed' });
  await mesh.reachable(callers[0]!, 'doomed');
}

beforeAll(async () => {
  const module = join(mesh.directory, 'judge.mjs');
  writeFileSync(module, filterSource);
  const filters = [{ module, services: ['guarded'] }];
  old = await OldServer.start(({ params }) => answerOfOld(params.args[0] as Plan | null));
  const listen = `127.0.0.1:${steadyPort()}`;
  const [near, own, other] = await Promise.all([
    mesh.agent('near', { filters }),
    mesh.agent('own', straying),
    mesh.agent('other', straying),
  ]);
  const program = await mesh.app('program');
  const { address } = await program.serve({ mesh: false, listen, service: 'program' });
  const published = [
    { service: 'old', protocol: 'legacy', address: old.address },
    { service: 'program', protocol: 'mesh', address },
  ];
  far = await mesh.agent('far', { filters, publish: published });
  agents.push(near, far, other);

  const front = await mesh.server('front', near, { service: 'front' }, 'shm');
  const direct = await front.serve({ mesh: false, service: 'front' }, 'direct');
  await mesh.server('middle', far, { service: 'middle' }, 'unix');
  const back = await mesh.server('back', far, { service: 'back' }, 'tcp');
  const there = { agent: far.socket, transport: 'unix' };
  await back.serve({ ...there, service: 'narrow', maxConcurrentRequests: 1 }, 'narrow');
  await back.serve({ ...there, service: 'small', maxBodyBytes: 100_000 }, 'small');
  await back.serve({ ...there, service: 'guarded' }, 'guarded');

  for (const transport of ['shm', 'unix', 'tcp'] as const)
    callers.push(await mesh.client(`caller-${transport}`, near, transport));
  const without = await mesh.app('caller-direct');
  await without.connect({ mesh: false, endpoints: { front: [direct.address] } });
  const stray = await mesh.app('caller-stray');
  await stray.connect({ agent: { socket: own.socket }, backoffMs: { min: 20, max: 100 } });
  callers.push(without, stray);
  await serveDoomed();
  for (const service of ['front', 'middle', 'back', 'narrow', 'small', 'guarded', 'program'])
    await mesh.reachable(callers[0]!, service);
  await until('the old server to be reached', () =>
    callers[0]!.call('old', 'who', '[null]').then(
      () => true,
      () => false,
    ),
  );
  const list = `${own.socket}.fallback`;
  await until(
    'the other agent to be listed',
    () =>
      existsSync(list) &&
      (JSON.parse(readFileSync(list, 'utf8')) as { agents: string[] }).agents.length === 1,
  );
  await own.kill();
  await stray.event('transport', { transport: 'fallback' });
  await mesh.reachable(stray, 'front');
});
afterAll(async () => {
  await mesh.close();
  await old.close();
});

const call = (service: string, end: string): Call => ({
  ...{ service, method: 'plan', plan: { end, calls: [] }, bytes: 0, timeoutMs: 5_000 },
  ...{ cancelAfterMs: null, attachments: { verdict: '' } },
});

let plans = 0;
const neverEnds = ({ end, calls }: Plan): boolean =>
  end === 'never' || calls.some(({ plan }) => neverEnds(plan));
/** A call with ids of its own, which waits for what never ends only briefly. */
function instance(of: Call): Call {
  const timeoutMs = neverEnds(of.plan) ? Math.min(50, of.timeoutMs) : of.timeoutMs;
  const calls = of.plan.calls.map(instance);
  return { ...of, timeoutMs, plan: { ...of.plan, calls, id: `plan-${plans++}` } };
}

const { call: anyCall } = fc.letrec<{ plan: Plan; call: Call }>((tie) => ({
  plan: fc.record({
    end: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom('pass on', 'wrap') },
      { weight: 6, arbitrary: fc.constantFrom('answer', 'claim', 'nonsense', 'long') },
      { weight: 2, arbitrary: fc.constant('never') },
    ),
    calls: fc.oneof(
      { maxDepth: 3 },
      fc.constant<Call[]>([]),
      fc.array(tie('call'), { minLength: 1, maxLength: 2 }),
    ),
  }),
  call: fc
    .record({
      service: fc.constantFrom(
        ...['front', 'middle', 'back', 'narrow', 'small', 'guarded', 'doomed', 'old', 'program', 'nobody'],
      ),
      method: fc.oneof(
        { weight: 9, arbitrary: fc.constant('plan') },
        { weight: 1, arbitrary: fc.constant('missing') },
      ),
      plan: tie('plan'),
      bytes: fc.constantFrom(0, 0, 70_000, 150_000),
      timeoutMs: fc.constantFrom(2, 50, 5_000, 5_000),
      cancelAfterMs: fc.oneof(
        { weight: 7, arbitrary: fc.constant(null) },
        { weight: 1, arbitrary: fc.nat(10) },
      ),
      attachments: fc.record({
        verdict: fc.constantFrom(
          '',
          'outbound throws',
          'inbound throws',
          'outbound rejects',
          'inbound rejects',
        ),
      }),
      dies: fc.nat(9),
    })
    .map(({ dies, ...made }) =>
      // Only where another process takes the place of one that dies; the old server loses its connections.
      dies === 0 && ['doomed', 'old'].includes(made.service)
        ? { ...made, plan: { ...made.plan, end: 'die' } }
        : made,
    ),
}));

/** What each call was told so far, nested ones included. */
const outcomes = (): Outcome[] =>
  mesh.apps.flatMap((app) => app.events.filter(({ event }) => event === 'outcome') as unknown as Outcome[]);
const ran = (): Set<string> => new Set([...mesh.apps.flatMap((app) => app.ran()), ...ranInOld]);

function expectProofs(): void {
  const ranIds = ran();
  const wrong = outcomes().filter(({ id, failed }) =>
    failed === undefined ? !ranIds.has(id) : !failed.mayHaveRun && ranIds.has(id),
  );
  expect(wrong).toEqual([]);
}

it('no call that is said not to have run has run, and every answered one has', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyCall, { minLength: 1, maxLength: 8 }), async (calls) => {
      if (doomed.process.ending !== undefined) await serveDoomed();
      await Promise.all(
        calls.map((one, i) => {
          const caller = callers[i % callers.length]!;
          // Without agents there is only the one service.
          const service = caller.name === 'caller-direct' ? 'front' : one.service;
          return caller.follow(instance({ ...one, service }));
        }),
      );
      await Promise.all(agents.map((agent) => agent.quiet()));
      expectProofs();
    }),
    { numRuns: 60 },
  );
  // Nothing that was given up runs later, either.
  await Promise.all(callers.map((caller) => caller.follow(instance(call('front', 'answer')))));
  expectProofs();
  const failures = outcomes().flatMap(({ id, failed }) => (failed === undefined ? [] : [{ id, ...failed }]));
  const ranIds = ran();
  const told = (test: (failure: Failure & { id: string }) => boolean): number => failures.filter(test).length;
  expect(told(({ mayHaveRun }) => !mayHaveRun)).toBeGreaterThan(10);
  expect(told(({ id }) => ranIds.has(id))).toBeGreaterThan(10);
}, 180_000);
