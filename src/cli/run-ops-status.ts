// `ringside ops status` and `ringside ops versions`: what an ops agent knows, for people or as JSON.
import { errorText } from '../base/errors.js';
import type { OpsStatus, VersionView } from '../ops/api.js';
import { OpsClient } from '../ops/ops-client.js';
import { ExitError } from './exit-error.js';
import { print, printJson } from './output.js';
import { tableOf } from './table.js';
import { addressOf, describe, summary } from './run-upgrade.js';
import type { OpsWay } from './run-upgrade.js';

type Options = OpsWay & { json?: boolean };

export async function runOpsStatus(options: Options): Promise<void> {
  const status = await ask(options, (client) => client.status());
  if (options.json) printJson(status);
  else print(statusLines(status).join('\n'));
}

export async function runOpsVersions(options: Options): Promise<void> {
  const versions = await ask(options, (client) => client.versions());
  if (options.json) printJson(versions);
  else print(versionTable(versions));
}

function statusLines({ current, previous, agent, job, last }: OpsStatus): string[] {
  const { state, pid, version, crashes, admin } = agent;
  return [
    `version ${current}, before it ${previous ?? 'none'}`,
    `agent ${state}${pid === null ? '' : `: process ${pid}, version ${version}`}${crashes === 0 ? '' : `, ${crashes} crashes in a row`}`,
    `admin ${admin ?? 'none'}`,
    ...(job === null ? [] : [`under way since ${job.at}: ${job.kind} to ${describe(job)}`]),
    ...(last === null ? [] : [`last, ${last.at}: ${summary(last)}`]),
  ];
}

function versionTable(versions: readonly VersionView[]): string {
  return tableOf(
    ['version', '', 'installed', 'sha256', 'source'],
    versions.map(({ version, current, previous, installedAt = '', sha256 = '', source = '' }) => [
      ...[version, current ? 'current' : previous ? 'before' : '', installedAt, sha256, source],
    ]),
  );
}

async function ask<T>(options: Options, question: (client: OpsClient) => Promise<T>): Promise<T> {
  const client = new OpsClient(addressOf(options));
  try {
    return await question(client);
  } catch (error) {
    throw new ExitError(errorText(error), 1);
  } finally {
    await client.close();
  }
}
