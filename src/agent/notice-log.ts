// What the engine tells of, in the agent's log: links, listeners and peers in trouble, handoffs, failed and slow requests. Only words; what follows
// from a notice is agent.ts's business. Requests that fail may be many, so their lines are bounded per second.
import type { Logger } from 'pino';
import { statusName } from '../base/status.js';
import type { EngineNotice } from '../native/engine.js';
import { TokenBucket } from '../policy/token-bucket.js';

/** Failed and slow requests written to the log per second, at most. */
const recordsPerSecond = 20;

/** See the file's head. */
export class NoticeLog {
  readonly #records = new TokenBucket(recordsPerSecond, recordsPerSecond, 0);

  /** @param shmWanted whether an application without shared memory is worth a warning */
  constructor(
    private readonly log: Logger,
    private readonly shmWanted: boolean,
  ) {}

  /** Writes what there is to say about a notice, if anything. */
  tell(notice: EngineNotice): void {
    const { log } = this;
    switch (notice.type) {
      case 'link-up': {
        const { link, kind, role, peer, app, note } = notice;
        const fields = { link, kind, role, peer, app };
        if (note === '' || !this.shmWanted) log.info(fields, 'link opened');
        else
          log.warn({ ...fields, problem: note }, 'link opened without the shared memory that was asked for');
        break;
      }
      case 'link-down':
        log.info({ link: notice.link, reason: notice.reason }, 'link closed');
        break;
      case 'handed-over': {
        const { freezeUs, links, pending, parked } = notice;
        log.info({ freezeUs, links, pending, parked }, 'handed over to the new process');
        break;
      }
      case 'handoff-failed':
        log.warn({ reason: notice.text }, 'the handoff failed; this agent goes on');
        break;
      case 'listener-problem':
        if (notice.text === '') log.info('connections are accepted again');
        else log.error({ problem: notice.text }, 'a listener is in trouble; it goes on by itself');
        break;
      case 'upstream-problem': {
        const { address, text } = notice;
        if (text === '') log.info({ address }, 'another agent is reached again');
        else
          log.warn(
            { address, problem: text },
            'another agent cannot be reached; it is tried again by itself',
          );
        break;
      }
      case 'record': {
        if (!this.#records.take(performance.now())) break;
        const { status, latencyUs, direction, service, upstream, sourceApp, text } = notice;
        log.info(
          { status: statusName(status), latencyUs, direction, service, upstream, sourceApp, text },
          status === 0 ? 'slow request' : 'failed request',
        );
        break;
      }
    }
  }
}
