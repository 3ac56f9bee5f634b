import { expect, it } from 'vitest';
import { Gate } from '../../src/base/gate.js';

/** Lets everything run that waits for nothing but promises. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('lets work pass while it is open', async () => {
  const gate = new Gate();
  expect(await gate.pass(async () => 7)).toBe(7);
  await expect(
    gate.pass(async () => {
      throw new Error('as the work does');
    }),
  ).rejects.toThrow('as the work does');
});

it('closed, it waits for what is under way and holds what comes until it is opened', async () => {
  const gate = new Gate();
  const order: string[] = [];
  let finish: () => void = () => undefined;
  const running = gate.pass(async () => {
    await new Promise<void>((resolve) => (finish = resolve));
    order.push('first');
    throw new Error('which is an end too');
  });
  running.catch(() => undefined);
  const closed = gate.close().then(() => order.push('closed'));
  const later = gate.pass(async () => order.push('second'));
  await settle();
  expect(order).toEqual([]);
  finish();
  await closed;
  await settle();
  expect(order).toEqual(['first', 'closed']);
  gate.open();
  await later;
  expect(order).toEqual(['first', 'closed', 'second']);
});

it('closed again before what waited has begun, it holds that too', async () => {
  const gate = new Gate();
  await gate.close();
  let ran = false;
  const waits = gate.pass(async () => (ran = true));
  gate.open();
  await gate.close();
  await settle();
  expect(ran).toBe(false);
  gate.open();
  await waits;
});
