// `ringside ops status` and `ringside ops versions`: what an ops agent knows, for people or as JSON.
import Table from 'cli-table3';
import { errorText } from '../base/errors.js';
import type { OpsStatus, VersionView } from '../ops/api.js';
import { OpsClient } from '../ops/ops-client.js';
import { ExitError } from './exit-error.js';
import { addressOf, describe, summary } from './run-upgrade.js';
import type { OpsWay } from './run-upgrade.js';

type Options = OpsWay & { json?: boolean };

export async function runOpsStatus(options: Options): Promise<void> {
  const status = await ask(options, (client) => client.status());
  print(options, status, () => statusLines(status).join('\n'));
}

export async function runOpsVersions(options: Options): Promise<void> {
  const versions = await ask(options, (client) => client.versions());
  print(options, versions, () => tableOf(versions));
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

function tableOf(versions: readonly VersionView[]): string {
  const table = new Table({
    head: ['version', '', 'installed', 'sha256', 'source'],
    style: { head: [], border: [], compact: true },
  });
  for (const { version, current, previous, installedAt = '', sha256 = '', source = '' } of versions)
    table.push([version, current ? 'current' : previous ? 'before' : '', installedAt, sha256, source]);
  return table.toString();
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

function print({ json }: Options, answer: unknown, text: () => string): void {
  process.stdout.write(`${json ? JSON.stringify(answer) : text()}\n`);
}
