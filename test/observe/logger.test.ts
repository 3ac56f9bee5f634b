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

  it('ends nobody and holds up nobody where the disk is full', () => {
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

  it('is complete on standard output when the process ends at once', () => {
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
