// The exit codes of all commands, in one table: what may be thrown (exit-error.ts) and what docs/command-line.md says are both made from it.

/** What each code means. */
export const exitCodes = {
  0: 'It did what it was asked for. An agent, an ops agent, a watcher or `serve-echo` that was asked to end (SIGTERM, SIGINT) has ended in order.',
  1: 'It failed: the call failed, nobody answers, `doctor` found what does not work, the agent cannot start, a rollout has stopped, an upgrade failed and the agent that ran runs on. Also an agent or a rollout that was asked twice to end and left at once.',
  2: 'It was asked for what cannot be: unknown options or commands, missing arguments, a configuration or a file of targets that is invalid. Nothing was begun.',
  3: '`upgrade` and `rollback`: the version was there and was rolled back.',
  130: '`demo` was interrupted; everything it had started is gone.',
} as const;

/** A code of that table. */
export type ExitCode = keyof typeof exitCodes;

/** The table of docs/command-line.md. */
export function describeExitCodes(): string {
  const rows = Object.entries(exitCodes).map(([code, meaning]) => `| ${code} | ${meaning} |\n`);
  return `| code | meaning |\n|---|---|\n${rows.join('')}`;
}
