import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/base/redis-url.js';

describe('a URL of Redis', () => {
  it.each([
    ['redis://localhost', { kind: 'single', nodes: [{ host: 'localhost', port: 6379 }], tls: false, db: 0 }],
    ['redis://[::1]:7000/3', { nodes: [{ host: '::1', port: 7000 }], db: 3 }],
    ['rediss://me:a%40b@h:1', { tls: true, username: 'me', password: 'a@b', shown: 'rediss://h:1' }],
    ['redis://:secret@h', { password: 'secret', shown: 'redis://h' }],
    [
      'redis+sentinel://:pw@a,b:2/mesh/1',
      {
        kind: 'sentinel',
        nodes: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 2 },
        ],
        master: 'mesh',
        db: 1,
      },
    ],
    ['rediss+cluster://a,b:2', { kind: 'cluster', tls: true }],
  ])('%s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  it.each([
    ['', 'is no URL'],
    ['http://h', 'is no URL'],
    ['redis://', 'is no URL'],
    ['redis://h:0', 'host or port'],
    ['redis://h:70000', 'host or port'],
    ['redis://a,b', 'several servers'],
    ['redis://h/x', 'database'],
    ['redis://h/1/2', 'database'],
    ['redis+cluster://h/1', 'only one'],
    ['redis+sentinel://h', 'master'],
    ['redis://%@h', 'URL-encoded'],
    [`redis+cluster://${Array(33).fill('h').join(',')}`, 'more than 32'],
  ])('%s is refused', (url, wrong) => {
    expect(parseRedisUrl(url)).toEqual({ wrong: expect.stringContaining(wrong) as string });
  });
});
