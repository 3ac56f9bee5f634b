// The addon is there, and where it is not the reason says so.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { loadAddon } from '../../src/native/load.js';

describe('loadAddon', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('loads once', () => {
    expect(loadAddon()).toBe(loadAddon());
    expect(typeof loadAddon().AppLink).toBe('function');
    expect(typeof loadAddon().Pacer).toBe('function');
  });

  it('is absent when switched off, also after it was loaded', () => {
    loadAddon();
    vi.stubEnv('RINGSIDE_ADDON', 'off');
    expect(() => loadAddon()).toThrow(/RINGSIDE_ADDON=off/);
  });
});
