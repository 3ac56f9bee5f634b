// `ringside upgrade`, `ringside rollback` and `ringside ops adopt`: ask an ops agent for it and show how it goes. Exit codes: 0 done, 1 it failed and the agent that ran runs
// on (or nobody could be asked), 2 the request cannot be, 3 the new version was there and was rolled back.
import { resolve } from 'node:path';
import ora from 'ora';
import { errorText } from '../base/errors.js';
import { shownText } from '../base/shown.js';
import { upgradeRequest } from '../ops/api.js';
import type { Progress } from '../ops/api.js';
import { defaultOpsSocket } from '../ops/config.js';
import { OpsClient } from '../ops/ops-client.js';
import type { OpsAddress } from '../ops/ops-client.js';
import { ExitError } from './exit-error.js';
import { print, printJson } from './output.js';

/** How long nobody may answer before the command gives up on a job. */
const patienceMs = 60_000;

export interface OpsWay {
  socket?: string;
  url?: string;
  token?: string;
}

export interface UpgradeCommandOptions extends OpsWay {
  version: string;
  source: string;
  sha256: string;
  signature?: string;
  json?: boolean;
}

export async function runUpgrade(options: UpgradeCommandOptions): Promise<void> {
  const request = upgradeOf(options);
  await runJob(options, (client) => client.upgrade(request));
}

export async function runRollback(options: OpsWay & { json?: boolean }): Promise<void> {
  await runJob(options, (client) => client.rollback());
}

export async function runAdopt(options: OpsWay & { json?: boolean }): Promise<void> {
  await runJob(options, (client) => client.adopt());
}

/** What is asked for, with a relative path made absolute. @throws ExitError for options that cannot be */
export function upgradeOf(options: Omit<UpgradeCommandOptions, keyof OpsWay>) {
  const { version, source, sha256, signature } = options;
  const checked = upgradeRequest.safeParse({
    ...{ version, sha256, source: /^[a-z]+:\/\//.test(source) ? source : resolve(source) },
    ...(signature === undefined ? {} : { signature }),
  });
  if (checked.success) return checked.data;
  const wrong = checked.error.issues.map(({ path, message }) => `--${path.join('.')}: ${message}`);
  throw new ExitError(wrong.join('\n'), 2);
}

async function runJob(
  options: OpsWay & { json?: boolean },
  begin: (client: OpsClient) => Promise<string>,
): Promise<void> {
  const client = new OpsClient(addressOf(options));
  const spinner = ora({ stream: process.stderr, isSilent: options.json === true });
  try {
    const job = await begin(client);
    const outcome = await client.follow(
      job,
      (progress) => {
        if (options.json) printJson(progress);
        else spinner.start(describe(progress));
      },
      patienceMs,
    );
    spinner.stop();
    if (!options.json) print(summary(outcome));
    if (outcome.step !== 'done') throw new ExitError('', outcome.step === 'failed' ? 1 : 3);
  } catch (error) {
    spinner.stop();
    throw error instanceof ExitError ? error : new ExitError(errorText(error), 1);
  } finally {
    await client.close();
  }
}

/** @throws ExitError for options that cannot be */
export function addressOf({ socket, url, token }: OpsWay): OpsAddress {
  if (url === undefined) return { socket: socket ?? defaultOpsSocket() };
  if (socket !== undefined) throw new ExitError('--socket and --url exclude each other', 2);
  if (token === undefined || token === '')
    throw new ExitError('--url needs the token of the ops agent: --token, or RINGSIDE_OPS_TOKEN', 2);
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new ExitError(`--url: ${url} is no http URL`, 2);
  return { url, token };
}

/** One line for a step, as it goes on; escaped. */
export function describe({ version, step, bytes, totalBytes, detail }: Progress): string {
  const mib = (count: number): string => (count / 1024 / 1024).toFixed(1);
  const amount =
    bytes === undefined
      ? ''
      : ` ${mib(bytes)}${totalBytes === undefined ? '' : ` of ${mib(totalBytes)}`} MiB`;
  return shownText(`${version}: ${step}${amount}${detail === undefined ? '' : ` (${detail})`}`);
}

/** How a job ended, in words. */
export function summary({ version, step, kind, detail, handoff }: Progress): string {
  const moved =
    handoff === undefined
      ? ''
      : `\n  stood still for ${(handoff.freezeUs / 1000).toFixed(2)} ms; moved ${handoff.links} links, ${handoff.pending} requests under way, ${handoff.parked} waiting for a decision`;
  const outcome =
    step === 'done'
      ? `version ${version} serves`
      : step === 'failed'
        ? `the ${kind === 'adopt' ? 'takeover by' : `${kind} to`} version ${version} failed, the agent that ran runs on`
        : `version ${version} was rolled back`;
  return `${shownText(`${outcome}${detail === undefined ? '' : `: ${detail}`}`)}${moved}`;
}
