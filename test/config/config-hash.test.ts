import { describe, expect, it } from 'vitest';
import { configHash } from '../../src/config/config-hash.js';
import { parseAgentConfig } from '../../src/config/load-config.js';

const hash = (text: string): string => configHash(parseAgentConfig(text));

describe('the hash of a configuration', () => {
  it('is the same for the same, however it is written', () => {
    expect(hash('timeouts: { defaultMs: 100, maxMs: 200 }')).toBe(
      hash('timeouts:\n  maxMs: 200\n  defaultMs: 100\n'),
    );
    expect(hash('')).toMatch(/^[0-9a-f]{12}$/);
  });
  it('changes with any field', () => {
    const texts = ['', 'app: shop', 'log: { level: warn }', 'limits: { pending: 100 }'];
    expect(new Set(texts.map(hash)).size).toBe(texts.length);
  });
  it('tells nothing of secrets', () => {
    const token = (text: string): string => hash(`loopback: { token: ${text} }`);
    expect(token('hunter2-hunter2-hunter2')).toBe(token('another-token-altogether'));
  });
});
