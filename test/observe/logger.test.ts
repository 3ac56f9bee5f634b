import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createLogger } from '../../src/observe/logger.js';

function capture(level = 'info') {
  const lines: string[] = [];
  const logger = createLogger({
    level,
    name: 'agent',
    destination: { write: (line) => void lines.push(line) },
  });
  return { logger, lines, entries: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('the log', () => {
  it('is one JSON object a line, with name and ISO time', () => {
    const { logger, lines, entries } = capture();
    logger.info({ port: 1 }, 'listening\non');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\{.*\}\n$/);
    expect(entries()[0]).toMatchObject({ name: 'agent', msg: 'listening\non', port: 1 });
    expect(entries()[0]?.['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('holds no secret, however deep it lies', () => {
    const { logger, lines } = capture();
    const secret = 'hunter2-hunter2';
    logger.info({ token: secret, loopback: { token: secret } }, 'a');
    logger.info(
      { config: { loopback: { token: secret } }, request: { headers: { authorization: secret } } },
      'b',
    );
    logger.info({ a: { b: { c: { d: { secret } } } }, password: secret }, 'c');
    expect(lines).toHaveLength(3);
    expect(lines.join('')).not.toContain(secret);
    expect(lines.join('')).toContain('(redacted)');
  });

  it('follows a change of its level', () => {
    const { logger, lines } = capture('warn');
    logger.info('quiet');
    logger.level = 'debug';
    logger.debug('loud');
    expect(lines).toHaveLength(1);
  });

  it('ends nobody and holds up nobody where the disk is full', { timeout: 30_000 }, () => {
    const url = (path: string) => new URL(path, import.meta.url).href;
    const script = `import { createLogger } from '${url('../../src/observe/logger.ts')}';
      import { setTimeout as pause } from 'node:timers/promises';
      const logger = createLogger({ level: 'info', name: 'x' });
      for (let i = 0; i < 5; i++) {
        logger.info('x'.repeat(2_000_000));
        await pause(10);
      }
      process.stderr.write('at the end');
      process.exit(4);`;
    const full = openSync('/dev/full', 'w');
    try {
      const { status, stderr } = spawnSync(
        process.execPath,
        ['--import', url('../registry/ts-loader.mjs'), '--input-type=module', '-e', script],
        {
          encoding: 'utf8',
          stdio: ['ignore', full, 'pipe'],
          cwd: fileURLToPath(new URL('.', import.meta.url)),
        },
      );
      expect({ status, stderr }).toEqual({ status: 4, stderr: 'at the end' });
    } finally {
      closeSync(full);
    }
  });

  it('is complete on standard output when the process ends at once', { timeout: 30_000 }, () => {
    const url = (path: string) => new URL(path, import.meta.url).href;
    const script = `import { createLogger } from '${url('../../src/observe/logger.ts')}';
      const logger = createLogger({ level: 'info', name: 'x' });
      for (let i = 0; i < 500; i++) logger.info({ i }, 'line');`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', url('../registry/ts-loader.mjs'), '--input-type=module', '-e', script],
      { encoding: 'utf8', cwd: fileURLToPath(new URL('.', import.meta.url)) },
    );
    expect(stderr).toBe('');
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { i: number }).i),
    ).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });
});

describe('lines of the log', () => {
  const hostile = 'shop\u001b[31m\u202e\u009b\nready';

  it('name their level', () => {
    const { logger, entries } = capture('trace');
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) logger[level]('x');
    expect(entries().map(({ level }) => level)).toEqual(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);
  });

  it('mean the same as before but hold nothing that a terminal obeys', () => {
    const { logger, lines, entries } = capture();
    logger.info({ app: hostile, [hostile]: [hostile] }, hostile);
    expect(lines[0]).toMatch(/^[\u0020-\u007e]*\n$/);
    expect(entries()[0]).toMatchObject({ app: hostile, msg: hostile, [hostile]: [hostile] });
  });

  it('are text for people where that is asked for', () => {
    const lines: string[] = [];
    const logger = createLogger({
      ...{ level: 'info', name: 'ringside', format: 'pretty' as const },
      destination: { write: (line) => void lines.push(line) },
    });
    logger.warn({ app: hostile, link: 7, token: 'hunter2', at: 'two words', none: null }, 'link opened');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z WARN {2}ringside: link opened {2}app="shop\\u001b\[31m\\u202e\\u009b\\nready" link=7 token=\(redacted\) at="two words" none=null\n$/,
    );
    logger.info('alone');
    expect(lines[1]).toMatch(/Z INFO {2}ringside: alone\n$/);
  });
});
