// In this process, where signals are told to their listeners by hand; real ones are in test/e2e/signals.test.ts.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProcessSignals } from '../../src/cli/process-signals.js';

const names = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
let before: Map<string, unknown[]>;
let signals: ProcessSignals;
const tell = (name: (typeof names)[number]): void => {
  const added = process.listeners(name).filter((one) => !before.get(name)?.includes(one));
  expect(added).toHaveLength(1);
  added[0]?.(name);
};
beforeEach(() => {
  before = new Map(names.map((name) => [name, process.listeners(name)]));
  signals = new ProcessSignals(undefined);
});
afterEach(() => {
  for (const name of names) {
    for (const one of process.listeners(name)) if (!before.get(name)?.includes(one)) process.off(name, one);
  }
});

describe('signals of a command', () => {
  it('a SIGHUP that came early is done once, when somebody is there for it, and later ones each time', () => {
    tell('SIGHUP');
    tell('SIGHUP');
    const done = vi.fn();
    signals.onHangUp(done);
    expect(done).toHaveBeenCalledTimes(1);
    tell('SIGHUP');
    expect(done).toHaveBeenCalledTimes(2);
    expect(signals.stopping).toBe(false);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('%s ends it once, and is known at once', async (name) => {
    const again = vi.fn();
    signals.onStopAgain(again);
    tell(name);
    expect(signals.stopping).toBe(true);
    expect(await signals.stop).toBe(name);
    expect(again).not.toHaveBeenCalled();
    tell('SIGINT');
    expect(again).toHaveBeenCalledExactlyOnceWith('SIGINT');
  });

  it('all have a handler: what means nothing does nothing', () => {
    tell('SIGUSR1');
    tell('SIGUSR2');
    expect(signals.stopping).toBe(false);
  });

  it('where nothing is read again SIGHUP ends the command', async () => {
    const ended = signals.stopOrHangUp();
    tell('SIGHUP');
    await ended;
  });
});
