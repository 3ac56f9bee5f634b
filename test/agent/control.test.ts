import { describe, expect, it } from 'vitest';
import { Control } from '../../src/agent/control.js';
import type { Inbound } from '../../src/agent/inbound.js';
import type { Offer, Server } from '../../src/agent/publications.js';
import { MeshError } from '../../src/base/errors.js';
import { Status } from '../../src/base/status.js';
import type { Verdict } from '../../src/native/engine-commands.js';
import { decodeHeader } from '../../src/protocol/header.js';

const asked: { server: Server; offer: Offer }[] = [];
const inbound = {
  publish: async (server: Server, offer: Offer) => {
    if (offer.service === 'refused') throw new MeshError('RESOURCE_EXHAUSTED', 'full');
    if (offer.service === 'broken') throw new Error(`boom ${'x'.repeat(5_000)}`);
    asked.push({ server, offer });
    return 'instance-1';
  },
  unpublish: async (server: Server, offer: Offer) => void asked.push({ server, offer }),
} as unknown as Inbound;
const control = new Control(inbound);

type Answer = Extract<Verdict, { kind: 'answer' }>;
async function ask(
  method: string,
  body: string | object,
): Promise<{ code: number; text: string; body: string }> {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const answer = (await control.answer(7, method, bytes)) as Answer;
  expect(answer.kind).toBe('answer');
  const text = answer.header === undefined ? '' : decodeHeader(answer.header).statusMessage;
  return { code: answer.code, text, body: answer.body?.toString() ?? '' };
}

describe('what apps ask of their agent', () => {
  it('publish fills in what is left out and answers the instance', async () => {
    expect(await ask('publish', { service: 'ledger', methods: ['get'] })).toEqual({
      code: Status.OK,
      text: '',
      body: '{"instance":"instance-1"}',
    });
    expect(asked.pop()).toEqual({
      server: { link: 7 },
      offer: { service: 'ledger', group: '', version: '', weight: 100 },
    });
  });

  it('unpublish answers an empty object', async () => {
    expect(await ask('unpublish', { service: 'ledger', group: 'blue' })).toMatchObject({
      code: Status.OK,
      body: '{}',
    });
    expect(asked.pop()).toMatchObject({ server: { link: 7 }, offer: { service: 'ledger', group: 'blue' } });
  });

  it.each([
    ['no JSON', '{"service"', 'not JSON'],
    ['no object', '"ledger"', 'body'],
    ['null', 'null', 'body'],
    ['no service', {}, 'service'],
    ['an empty service', { service: '' }, 'empty'],
    ['a service of another type', { service: 7 }, 'service'],
    ['a service that is too long', { service: 'x'.repeat(257) }, '256 bytes'],
    ['a service too long in bytes', { service: 'ü'.repeat(129) }, '256 bytes'],
    ['control characters', { service: 'led\nger' }, 'control'],
    ['the agent’s own name', { service: 'ringside.agent' }, 'agent itself'],
    ['a group of another type', { service: 'a', group: {} }, 'group'],
    ['a negative weight', { service: 'a', weight: -1 }, 'weight'],
    ['a fraction as weight', { service: 'a', weight: 0.5 }, 'weight'],
    ['a weight beyond the bound', { service: 'a', weight: 1_000_001 }, 'weight'],
  ])('%s is INVALID_ARGUMENT with a word about it', async (_what, body, text) => {
    const answer = await ask('publish', body);
    expect(answer.code).toBe(Status.INVALID_ARGUMENT);
    expect(answer.text).toContain(text);
    expect(asked).toEqual([]);
  });

  it('an unknown method is UNIMPLEMENTED and lists the known ones', async () => {
    const answer = await ask('restart', {});
    expect(answer.code).toBe(Status.UNIMPLEMENTED);
    expect(answer.text).toContain('publish or unpublish');
  });

  it('what goes wrong inside keeps its status, or is INTERNAL with a text that fits', async () => {
    expect(await ask('publish', { service: 'refused' })).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      text: 'full',
    });
    const broken = await ask('publish', { service: 'broken' });
    expect(broken.code).toBe(Status.INTERNAL);
    expect(broken.text).toMatch(/^boom x+$/);
    expect(broken.text.length).toBeLessThanOrEqual(1_024);
  });
});
