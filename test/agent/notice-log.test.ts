// What the agent writes about its links and requests: what is routine at debug, what others cause within a bound, and how much was left out.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NoticeLog } from '../../src/agent/notice-log.js';
import { createLogger } from '../../src/observe/logger.js';

interface Line {
  level: string;
  msg: string;
  leftOut?: number;
  kind?: string;
}

function noticeLog(level: string): { notices: NoticeLog; lines: Line[] } {
  const lines: Line[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Line) };
  return { notices: new NoticeLog(createLogger({ level, name: 'agent', destination }), true), lines };
}

const up = { type: 'link-up', link: 1, kind: 'shm', role: 'app', peer: 'pid 1', app: 'x', note: '' } as const;
const down = (reason: string) => ({ type: 'link-down', link: 1, reason }) as const;
const record = {
  type: 'record',
  ...({ status: 14, latencyUs: 5, direction: 'outbound', service: 's', upstream: 'u' } as const),
  ...{ method: 'm', traceId: '', sourceApp: 'a', text: 't' },
} as const;

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

describe('the log of notices', () => {
  it('says nothing of connections that come and go, unless somebody debugs', () => {
    const info = noticeLog('info');
    const debug = noticeLog('debug');
    for (const { notices } of [info, debug]) {
      notices.tell(up);
      notices.tell(down('the application closed its socket'));
      notices.tell(down('the peer closed the connection'));
    }
    expect(info.lines).toEqual([]);
    expect(debug.lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['debug', 'link opened'],
      ['debug', 'link closed'],
      ['debug', 'link closed'],
    ]);
  });

  it('warns of a broken protocol, and tells of other ends', () => {
    const { notices, lines } = noticeLog('info');
    notices.tell(down('protocol violation: the first frame is not hello'));
    notices.tell(down('the peer has been silent for three keep-alive intervals'));
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'info']);
  });

  it.each([
    ['connections that break the protocol', down('protocol violation: x'), 'link closed'],
    ['applications without shared memory', { ...up, note: 'no room' }, /^link opened without/],
    ['requests that fail', record, 'failed request'],
    [
      'addresses in trouble',
      { type: 'upstream-problem', address: 'a', text: 'x' } as const,
      /^another agent cannot/,
    ],
    ['a listener in trouble', { type: 'listener-problem', listener: 1, text: 'x' } as const, /^a listener/],
  ])(
    '%s, however many, cause a bounded number of lines and one that counts the rest',
    (_what, notice, msg) => {
      const { notices, lines } = noticeLog('info');
      for (let i = 0; i < 10_000; i++) notices.tell(notice);
      expect(lines).toHaveLength(20);
      for (const line of lines) expect(line.msg).toMatch(msg);
      vi.advanceTimersByTime(1_000);
      expect(lines).toHaveLength(21);
      expect(lines[20]).toMatchObject({
        level: 'warn',
        leftOut: 9_980,
        msg: 'more lines of this kind were left out',
      });
      expect(lines[20]?.kind).toMatch(msg);
      notices.tell(notice);
      vi.advanceTimersByTime(5_000);
      expect(lines).toHaveLength(22);
    },
  );

  it('what troubles the registry is bounded whatever the services are called', () => {
    const { notices, lines } = noticeLog('info');
    for (let i = 0; i < 1_000; i++) notices.trouble(`could not renew the lease of s${i}`, new Error('x'));
    notices.close();
    expect(lines).toHaveLength(21);
    expect(lines[20]).toMatchObject({ leftOut: 980, kind: 'trouble' });
  });

  it('names the trace of a request where there is one', () => {
    const { notices, lines } = noticeLog('info');
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    for (const id of [traceId, '', '0'.repeat(32), `${traceId.slice(1)}"`])
      notices.tell({ ...record, traceId: id });
    expect(lines.map((line) => ('traceId' in line ? line.traceId : 'none'))).toEqual([
      ...[traceId, 'none', 'none', 'none'],
    ]);
    expect(lines[0]).toMatchObject({ level: 'info', method: 'm', status: 'UNAVAILABLE', service: 's' });
  });

  it('one kind does not use up the lines of another', () => {
    const { notices, lines } = noticeLog('info');
    for (let i = 0; i < 1_000; i++) notices.tell(record);
    notices.tell(down('the peer did not finish its handshake in time'));
    expect(lines.at(-1)?.msg).toBe('link closed');
  });
});
