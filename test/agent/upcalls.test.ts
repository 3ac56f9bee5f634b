// What the engine is told when the agent cannot decide or answer: only for a request that was to be sent on is that a proof that it has not run.
import { expect, it } from 'vitest';
import type { Control } from '../../src/agent/control.js';
import { Filters } from '../../src/agent/filters.js';
import type { Inbound } from '../../src/agent/inbound.js';
import type { LegacyDirectory } from '../../src/agent/legacy-directory.js';
import type { Outbound } from '../../src/agent/outbound.js';
import { Upcalls } from '../../src/agent/upcalls.js';
import { Status } from '../../src/base/status.js';
import type { Verdict } from '../../src/native/engine-commands.js';
import type { Engine, EngineNotice } from '../../src/native/engine.js';
import { encodeHeader } from '../../src/protocol/header.js';

const verdicts: Verdict[] = [];
let failing = 0;
const engine = {
  commands: {
    resolve: (_token: number, verdict: Verdict) => {
      if (failing-- > 0) throw new RangeError('too large');
      verdicts.push(verdict);
    },
  },
} as unknown as Engine;
const boom = (): never => {
  throw new Error('boom');
};
const control = {
  answer: async (_link: number, method: string): Promise<Verdict> =>
    method === 'fails' ? boom() : { kind: 'answer', code: Status.OK },
} as unknown as Control;
const filters = await Filters.load([]);
const upcalls = new Upcalls(
  engine,
  { clusterOf: boom } as unknown as Outbound,
  {} as Inbound,
  control,
  {} as LegacyDirectory,
  () => filters,
);

type Upcall = Extract<EngineNotice, { type: 'upcall' }>;
async function verdictOn(kind: Upcall['kind'], service: string, method = 'm'): Promise<Verdict> {
  const header = encodeHeader({ service, method });
  const upcall = { type: 'upcall', kind, direction: 'outbound', token: 1, link: 1, header, body: header };
  upcalls.handle({ ...upcall, frameType: 1, oneWay: false, timeoutMs: 0 } as unknown as Upcall);
  await new Promise((resolve) => setImmediate(resolve));
  return verdicts.pop()!;
}

it('a request that was to be sent on is rejected, with proof', async () => {
  for (const kind of ['miss', 'filter'] as const)
    expect(await verdictOn(kind, 's')).toMatchObject({ kind: 'reject', code: Status.INTERNAL });
});

it('a request to the agent itself is answered, without one: it may have been done', async () => {
  expect(await verdictOn('control', 'ringside.agent', 'fails')).toMatchObject({
    kind: 'answer',
    code: Status.INTERNAL,
  });
  failing = 1;
  expect(await verdictOn('control', 'ringside.agent')).toMatchObject({
    kind: 'answer',
    code: Status.INTERNAL,
  });
  expect(verdicts).toEqual([]);
});
