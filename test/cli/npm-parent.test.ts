import { describe, expect, it } from 'vitest';
import { takeNpmParents } from '../../src/cli/npm-parent.js';

// Whether the parent's end is noticed is in test/e2e/npx.test.ts.
describe("npm's mark in the environment", () => {
  it('names the parent, and is gone for children', () => {
    const env = { npm_lifecycle_event: 'npx', npm_command: 'exec', npm_config_registry: 'kept', HOME: '/x' };
    expect(takeNpmParents(env)?.[0]).toEqual({ pid: process.pid, parent: process.ppid });
    expect(env).toEqual({ npm_config_registry: 'kept', HOME: '/x' });
    expect(takeNpmParents(env)).toBeUndefined();
  });

  it('means nothing for an agent of an ops agent, and is gone all the same', () => {
    const env: NodeJS.ProcessEnv = { npm_lifecycle_event: 'start', RINGSIDE_OPS_RUN: 'x' };
    expect(takeNpmParents(env)).toBeUndefined();
    expect(env).toEqual({ RINGSIDE_OPS_RUN: 'x' });
  });
});
