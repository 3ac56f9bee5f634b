/**
 * What an ops agent does first: finds what its predecessor left. An agent that still runs is gone on with; a job that was under way is
 * finished where the new version serves already, and undone where it does not.
 */
import type { Logger } from '../observe/logger.js';
import type { Jobs } from './jobs.js';
import type { StateFile } from './state-file.js';
import type { Supervisor } from './supervisor.js';
import type { Versions } from './versions.js';

/** Returns when an agent is started or found; the rest of a job goes on by itself. */
export function recover(
  state: StateFile,
  versions: Versions,
  supervisor: Supervisor,
  jobs: Jobs,
  log: Logger,
): void {
  const { job } = state.now;
  const agent = supervisor.find(state.now.agent);
  const candidate = supervisor.find(state.now.candidate);
  void versions.removePartial();
  supervisor.forgetAllBut([agent, candidate]);
  if (agent) {
    log.info({ agentPid: agent.pid, version: agent.version }, 'an agent runs already; it is gone on with');
    supervisor.adopt(agent);
  } else if (!candidate) state.note({ agent: null, candidate: null });
  if (job === null) {
    supervisor.release();
    return;
  }

  const { before, step } = job;
  log.warn(
    { job: job.job, version: job.version, step },
    `${job.kind}: the ops agent ended in the middle; going on`,
  );
  supervisor.hold();
  const after = step === 'rolling back' ? before : { current: job.version, previous: before.current };
  const interrupted = `the ops agent ended while ${step}`;
  jobs.go(async () => {
    let { handoff } = job;
    if (job.kind === 'adopt') {
      if (candidate) handoff = await jobs.replace.settleFromStranger(candidate);
      else if (!agent) throw new Error(interrupted);
      return jobs.end('done', handoff === undefined ? {} : { handoff });
    }
    if (candidate) {
      if (!agent) supervisor.promote(candidate, after);
      else handoff = await jobs.replace.settle(agent, candidate, after);
    }
    const served = state.now.current;
    if (step === 'rolling back') {
      if (served === before.current && supervisor.serving) jobs.end('rolled-back');
      else await jobs.rollBack(job.detail ?? interrupted);
    } else if (served === before.current) jobs.end('failed', { detail: interrupted });
    else if (!supervisor.serving) await jobs.rollBack(`${interrupted}, and the agent with it`);
    else if (job.kind === 'rollback') jobs.end('done');
    else await jobs.probation(undefined, handoff);
  });
}
