import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Filters } from '../../src/agent/filters.js';
import type { FilterOutcome } from '../../src/agent/filters.js';
import { Status } from '../../src/base/status.js';
import { decodeHeader, emptyHeader, encodeHeader } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';

const directory = mkdtempSync(join(tmpdir(), 'ringside-filters-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let files = 0;

/** A module whose filter has this source of an `onRequest`. */
function filter(onRequest: string, more = ''): string {
  const module = join(directory, `${files++}.mjs`);
  writeFileSync(
    module,
    `const f = { name: 'f${files}', ${more} onRequest: ${onRequest} }; export { f as default };`,
  );
  return module;
}
const load = (...modules: string[]): Promise<Filters> =>
  Filters.load(modules.map((module) => ({ module, services: ['*'] })));

async function run(
  filters: Filters,
  header: Partial<Header> = {},
  direction: 'outbound' | 'inbound' = 'outbound',
): Promise<FilterOutcome & { seen: Header | undefined }> {
  const whole = { ...emptyHeader(), service: 'ledger', method: 'get', ...header };
  const bytes = encodeHeader(whole);
  const outcome = await filters.run(direction, whole, bytes, { timeoutMs: 250, oneWay: false });
  return { ...outcome, seen: outcome.kind === 'pass' ? decodeHeader(outcome.header) : undefined };
}

describe('a chain of filters', () => {
  it('each sees what the one before made of the request', async () => {
    const filters = await load(
      filter(`() => ({ attachments: { first: 'was here', gone: null }, route: { group: 'blue' } })`),
      filter(
        `({ attachments, group }) => ({ attachments: { second: JSON.stringify([attachments, group]) } })`,
      ),
    );
    const { seen } = await run(filters, { attachments: { gone: '1', kept: 'ü' }, group: 'green' });
    expect(seen?.group).toBe('blue');
    expect(seen?.attachments).toEqual({
      kept: 'ü',
      first: 'was here',
      second: JSON.stringify([{ kept: 'ü', first: 'was here' }, 'blue']),
    });
  });

  it('the first that rejects ends it', async () => {
    const filters = await load(
      filter(`() => ({ reject: { status: 'ABORTED', message: 'no' } })`),
      filter(`() => { throw new Error('never asked'); }`),
    );
    expect(await run(filters)).toMatchObject({ kind: 'reject', code: Status.ABORTED, text: 'no' });
  });

  it('cannot change what another one holds', async () => {
    const filters = await load(
      filter(`({ attachments }) => { attachments.smuggled = '1'; }`),
      filter(`({ attachments }) => ({ attachments: { saw: Object.keys(attachments).join() } })`),
    );
    expect((await run(filters)).seen?.attachments).toEqual({ saw: '' });
  });

  it('leaves a header alone that no filter changes, to the byte', async () => {
    const filters = await load(filter(`() => undefined`), filter(`async () => ({})`));
    const unknown = Buffer.from([0xa2, 0x06, 0x01, 0x78]);
    const header = { ...emptyHeader(), service: 'ledger' };
    const bytes = Buffer.concat([encodeHeader(header), unknown]);
    const outcome = await filters.run('outbound', header, bytes, { timeoutMs: 0, oneWay: true });
    expect(outcome.kind === 'pass' && outcome.header.equals(bytes)).toBe(true);
  });

  it('does not route requests that come in', async () => {
    const filters = await load(
      filter(`() => ({ route: { service: 'elsewhere' }, attachments: { a: '1' } })`),
    );
    const { seen } = await run(filters, {}, 'inbound');
    expect(seen).toMatchObject({ service: 'ledger', attachments: { a: '1' } });
  });
});

describe('which requests a filter looks at', () => {
  it('those of its services and directions', async () => {
    const module = filter('() => undefined', `directions: ['inbound'],`);
    const filters = await Filters.load([{ module, services: ['ledger', 'users'] }]);
    expect(filters.has('inbound', 'ledger')).toBe(true);
    expect(filters.has('inbound', 'users')).toBe(true);
    expect(filters.has('inbound', 'other')).toBe(false);
    expect(filters.has('outbound', 'ledger')).toBe(false);
  });

  it('none without filters', async () => {
    expect((await Filters.load([])).has('outbound', 'ledger')).toBe(false);
  });
});

describe('an answer that is none', () => {
  it.each([
    [`() => 7`],
    [`() => ({ reject: { status: 'toString', message: 'x' } })`],
    [`() => ({ reject: null })`],
    [`() => ({ reject: { status: 'ABORTED', message: 7 } })`],
    [`() => ({ attachments: { a: undefined } })`],
    [`() => ({ route: { version: null } })`],
    [`() => { throw null; }`],
    [`() => ({ get reject() { throw new Error('trap'); } })`],
  ])('%s is that filter’s failure', async (source) => {
    expect(await run(await load(filter(source)))).toMatchObject({
      kind: 'reject',
      code: Status.INTERNAL,
      text: expect.stringMatching(/^filter f\d+ failed: ./) as string,
    });
  });
});
