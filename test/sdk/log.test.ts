// Where lines go, and what is said only once there.
import { expect, test } from 'vitest';
import { logPlace } from '../../src/sdk/log.js';

test('what is to be said once is said once for each log function, and once on stderr', () => {
  const log = (): void => undefined;
  expect(logPlace(log, {}).isNews('lost')).toBe(true);
  expect(logPlace(log, {}).isNews('lost')).toBe(false);
  expect(logPlace(log, {}).isNews('found')).toBe(true);
  expect(logPlace(() => undefined, {}).isNews('lost')).toBe(true);
  expect(logPlace(undefined, {}).isNews('lost')).toBe(true);
  expect(logPlace(undefined, {}).isNews('lost')).toBe(false);
});

test('what is remembered has a bound, past which everything is news', () => {
  const place = logPlace(() => undefined, {});
  for (let n = 0; n < 1_000; n += 1) place.isNews(`text ${n}`);
  expect(['text 0', 'text 999', 'text 999'].map((text) => place.isNews(text))).toEqual([false, true, true]);
});
