// The error type and its table: codes, names and defaults that callers branch on.
import { describe, expect, test } from 'vitest';
import { defaultAgentSocket } from '../../src/base/default-socket.js';
import { MeshError, errorText } from '../../src/base/errors.js';
import { Status, maxStatusCode, statusName, statusTable } from '../../src/base/status.js';

describe('the table', () => {
  test('has one row per code, at its own index', () => {
    expect(statusTable).toHaveLength(maxStatusCode + 1);
    statusTable.forEach((row, code) => {
      expect(row.code).toBe(code);
      expect(Status[row.name]).toBe(code);
      expect(statusName(code)).toBe(row.name);
    });
    expect(statusName(17)).toBe('UNKNOWN');
    expect(statusName(-1)).toBe('UNKNOWN');
  });
});

describe('MeshError', () => {
  test('takes a name or a number, and says by default that the request may have run', () => {
    const error = new MeshError('UNAVAILABLE', 'gone');
    expect(error).toMatchObject({
      name: 'MeshError',
      code: 14,
      status: 'UNAVAILABLE',
      retryable: true,
      mayHaveRun: true,
    });
    expect(new MeshError(5, 'x')).toMatchObject({ status: 'NOT_FOUND', retryable: false });
    expect(error).toBeInstanceOf(Error);
  });

  test('what is no error status is UNKNOWN', () => {
    for (const status of [0, 17, -3, Number.NaN, 'OK', 'NONSENSE'] as const) {
      expect(new MeshError(status as number, 'x')).toMatchObject({ status: 'UNKNOWN', code: 2 });
    }
  });

  test('options override, and a cause is kept', () => {
    const cause = new Error('below');
    const error = new MeshError('RESOURCE_EXHAUSTED', 'x', { mayHaveRun: false, retryable: false, cause });
    expect(error).toMatchObject({ mayHaveRun: false, retryable: false, cause });
    expect('cause' in new MeshError('INTERNAL', 'x')).toBe(false);
  });
});

test('the text of anything thrown', () => {
  expect(errorText(new TypeError('bad'))).toBe('bad');
  expect(errorText(new TypeError())).toBe('TypeError');
  expect(errorText('plain')).toBe('plain');
  expect(errorText(undefined)).toBe('undefined');
  expect(errorText(Object.create(null))).toBe('something was thrown that has no text');
});

test('the default socket follows XDG_RUNTIME_DIR, else the uid', () => {
  expect(defaultAgentSocket({ XDG_RUNTIME_DIR: '/run/user/7' })).toBe('/run/user/7/ringside/agent.sock');
  expect(defaultAgentSocket({})).toBe(`/tmp/ringside-${process.getuid!()}/agent.sock`);
});
