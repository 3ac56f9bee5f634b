// What the engine tells of, in the agent's log: links, listeners and peers in trouble, handoffs, failed and slow requests. Only words; what follows
// from a notice is agent.ts's business. Others decide how often most of this happens, so these lines are bounded, and what is routine is written at debug.
import { errorText } from '../base/errors.js';
import { statusName } from '../base/status.js';
import type { EngineNotice } from '../native/engine.js';
import { BoundedLog } from '../observe/bounded-log.js';
import type { Logger } from '../observe/logger.js';

/** Ends of links that nobody needs to look into. The engine's words. */
const routineEnds = new Set([
  'the peer closed the connection',
  'the application closed its socket',
  'the client said QUIT',
  'this agent goes away',
  'the other agent is going away',
  'no instance is left behind this address',
  'there are more links to this address than may be now',
  'its request timed out or was cancelled, and its late reply would answer the next one',
]);
const violation = 'protocol violation: ';

/** See the file's head. */
export class NoticeLog {
  readonly #bounded: BoundedLog;

  /** @param shmWanted whether an application without shared memory is worth a warning */
  constructor(
    private readonly log: Logger,
    private readonly shmWanted: boolean,
  ) {
    this.#bounded = new BoundedLog(log);
  }

  /** Something did not go well that others may cause as often as they like; it is tried again, or does no harm. */
  readonly trouble = (message: string, error: unknown): void =>
    this.#bounded.write('warn', { error: errorText(error) }, message, 'trouble');

  /** Before the end: how many lines were left out. */
  close(): void {
    this.#bounded.tell();
  }

  /** Writes what there is to say about a notice, if anything. */
  tell(notice: EngineNotice): void {
    const { log } = this;
    const bounded = this.#bounded;
    switch (notice.type) {
      case 'link-up': {
        const { link, kind, role, peer, app, note } = notice;
        const fields = { link, kind, role, peer, app };
        if (note === '' || !this.shmWanted) bounded.write('debug', fields, 'link opened');
        else
          bounded.write(
            'warn',
            { ...fields, problem: note },
            'link opened without the shared memory that was asked for',
          );
        break;
      }
      case 'link-down': {
        const { link, reason } = notice;
        const level = routineEnds.has(reason) ? 'debug' : reason.startsWith(violation) ? 'warn' : 'info';
        bounded.write(level, { link, reason }, 'link closed');
        break;
      }
      case 'handed-over': {
        const { freezeUs, links, pending, parked } = notice;
        log.info({ freezeUs, links, pending, parked }, 'handed over to the new process');
        break;
      }
      case 'handoff-failed':
        log.warn({ reason: notice.text }, 'the handoff failed; this agent goes on');
        break;
      case 'listener-problem':
        if (notice.text === '') bounded.write('info', {}, 'connections are accepted again');
        else
          bounded.write('error', { problem: notice.text }, 'a listener is in trouble; it goes on by itself');
        break;
      case 'upstream-problem': {
        const { address, text } = notice;
        if (text === '') bounded.write('info', { address }, 'another agent is reached again');
        else
          bounded.write(
            'warn',
            { address, problem: text },
            'another agent cannot be reached; it is tried again by itself',
          );
        break;
      }
      case 'record': {
        const { status, latencyUs, direction, service, method, upstream, sourceApp, text, traceId } = notice;
        // What is none could not be looked for.
        const trace = /^(?!0+$)[0-9a-f]{32}$/.test(traceId) ? { traceId } : {};
        bounded.write(
          'info',
          {
            ...{ status: statusName(status), latencyUs, direction, service, method, upstream, sourceApp },
            ...{ text, ...trace },
          },
          status === 0 ? 'slow request' : 'failed request',
        );
        break;
      }
    }
  }
}
