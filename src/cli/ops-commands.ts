// The commands below `ringside ops`, which itself runs the ops agent: main.ts adds them. Exit codes as everywhere: 0 done, 1 it failed, 2 it was asked for
// something that cannot be.
import type { Command, Option } from 'commander';
import type { PackCommandOptions } from './run-ops-pack.js';
import type { OpsWay } from './run-upgrade.js';

type Asking = OpsWay & { json?: boolean };

/** @param wayOptions make the options that say where the ops agent is */
export function addOpsCommands(ops: Command, wayOptions: readonly (() => Option)[]): void {
  const asking = (name: string, description: string, json: string): Command => {
    const command = ops.command(name).description(description).option('--json', json);
    for (const option of wayOptions) command.addOption(option());
    return command;
  };
  asking(
    'status',
    'Show what an ops agent keeps, what it is doing, and how the last job ended.',
    'print one JSON object',
  ).action(async (options: Asking) => {
    const { runOpsStatus } = await import('./run-ops-status.js');
    await runOpsStatus(options);
  });
  asking('versions', 'Show the versions that an ops agent has.', 'print one JSON array').action(
    async (options: Asking) => {
      const { runOpsVersions } = await import('./run-ops-status.js');
      await runOpsVersions(options);
    },
  );
  asking(
    'adopt',
    'Let an ops agent take over an agent that was started by hand; its applications notice nothing.',
    'print a JSON object for each step',
  ).action(async (options: Asking) => {
    const { runAdopt } = await import('./run-upgrade.js');
    await runAdopt(options);
  });
  ops
    .command('pack')
    .description(
      'Build an archive of this version, or of the one that is built in a directory, for `ringside upgrade`.',
    )
    .argument('[directory]', 'where the built package lies; without it the one of this command')
    .option('-o, --output <file>', 'the archive; ringside-<version>.tar.gz without it')
    .option(
      '--name <version>',
      'the name it is to be installed as, such as 1.4.0+arm64; its version without it',
    )
    .option('--sign <file>', 'PEM file with an ed25519 private key; prints the signature')
    .option('--json', 'print one JSON object')
    .action(async (directory: string | undefined, options: PackCommandOptions) => {
      const { runOpsPack } = await import('./run-ops-pack.js');
      await runOpsPack(directory, options);
    });
}
