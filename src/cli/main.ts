#!/usr/bin/env node
// The command `ringside`: the composition root, where everything meets. Each subcommand has a file of its own that
// is loaded when it is asked for, so that `--help` and small commands start quickly.
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { buildInfo } from '../base/build-info.js';
import { MeshError, errorText } from '../base/errors.js';
import { ConfigError } from '../config/config-error.js';
import { logFormats } from '../observe/log-formats.js';
import { completionScript, shells } from './completion.js';
import type { Shell } from './completion.js';
import { ExitError } from './exit-error.js';
import type { ExitCode } from './exit-codes.js';
import { addOpsCommands } from './ops-commands.js';
import { flushed, outputProblem, printJson, tell, watchOutput, write } from './output.js';
import type { AgentCommandOptions } from './run-agent.js';
import type { DemoOptions } from './demo/run-demo.js';
import type { DoctorCommandOptions } from './doctor/run-doctor.js';
import type { CallCommandOptions } from './run-call.js';
import type { OpsCommandOptions } from './run-ops.js';
import type { RolloutCommandOptions } from './run-rollout.js';
import type { ServeEchoOptions } from './run-serve-echo.js';
import type { OpsWay, UpgradeCommandOptions } from './run-upgrade.js';
import { takeNpmParents } from './npm-parent.js';
import { ProcessSignals } from './process-signals.js';
import type { WatcherCommandOptions } from './run-watcher.js';
import type { TopOptions } from './top/run-top.js';

const { version } = buildInfo();
/** Whether errors are told as JSON: what the parser found, and until it has found anything, what it looks like. */
let asJson = process.argv.includes('--json');
watchOutput();

const npmParents = takeNpmParents();

const program = new Command('ringside')
  .description('A service-mesh data plane: an agent beside every application, reached over shared memory.')
  .version(version)
  .showHelpAfterError('(add --help for more)')
  // `upgrade` has a --version of its own.
  .enablePositionalOptions()
  .configureOutput({
    writeOut: write,
    writeErr: (text) => {
      if (!asJson) tell(text.trimEnd());
    },
  })
  // What the parser ends with is for the end of this file. Subcommands inherit it, and the streams.
  .exitOverride((error) => {
    throw error;
  })
  .hook('preAction', (_program, command) => {
    asJson = command.opts()['json'] === true;
  });

const agentOption = (): Option =>
  new Option('--agent <address>', "the agent's unix socket, or tcp://host:port").env('RINGSIDE_AGENT');
const transportOption = (): Option =>
  new Option('--transport <kind>', 'way to the agent')
    .choices(['auto', 'shm', 'unix', 'tcp'])
    .env('RINGSIDE_TRANSPORT');
const adminOption = (): Option =>
  new Option('--admin <url>', "the agent's admin address")
    .default('http://127.0.0.1:15102')
    .env('RINGSIDE_ADMIN');

/** Of commands that run until they are ended: their log is JSON by itself. */
const jsonOption = (): Option =>
  new Option('--json', 'print what --check found, or why it cannot start, as one JSON object');

const logFormatOption = (): Option =>
  new Option('--log-format <format>', 'how the log looks; pretty on a terminal, else json')
    .choices(logFormats)
    .env('RINGSIDE_LOG_FORMAT');

const opsSocketOption = (): Option => new Option('--socket <path>', "the ops agent's unix socket");
const opsUrlOption = (): Option => new Option('--url <url>', 'its port instead: http://host:port');
const opsTokenOption = (): Option =>
  new Option('--token <text>', 'the token of that port').env('RINGSIDE_OPS_TOKEN');

program
  .command('agent')
  .description(
    'Run the agent until SIGTERM, which drains it. SIGHUP, or a changed file, reloads the configuration.',
  )
  .option(
    '-c, --config <file>',
    'configuration in YAML (docs/configuration.md); without it, or where it does not exist, all defaults',
  )
  .option('--check', 'check the configuration, load its filters, and exit')
  .addOption(logFormatOption())
  .addOption(jsonOption())
  .option(
    '--takeover',
    'take over from the agent that runs with this configuration; its applications notice nothing (docs/upgrade.md)',
  )
  .action(async (options: Omit<AgentCommandOptions, 'version' | 'signals'>) => {
    const signals = new ProcessSignals(npmParents);
    const { runAgent } = await import('./run-agent.js');
    await runAgent({ ...options, version, signals });
  });

program
  .command('call')
  .description('Call a method of a service through the agent, as curl does for HTTP.')
  .argument('<service>')
  .argument('<method>')
  .option('-b, --body <text>', 'body of the request; @file reads a file, - standard input', '')
  .option('-t, --timeout <ms>', 'deadline', positiveNumber, 5000)
  .option('-g, --group <name>', 'group of the service')
  .option('-a, --attach <key=value>', 'attachment; may be repeated', collect, [])
  .option('--one-way', 'do not wait for an answer')
  .option('--json', 'print one JSON object with status, body, attachments and time taken')
  .addOption(agentOption())
  .addOption(transportOption())
  .action(async (service: string, method: string, options: CallCommandOptions) => {
    const { runCall } = await import('./run-call.js');
    await runCall(service, method, options);
  });

program
  .command('serve-echo')
  .description('Publish a service whose every method answers with its own body; ends on SIGTERM.')
  .requiredOption('-s, --service <name>', 'name to publish')
  .option('-g, --group <name>', 'group to publish it in')
  .option('--listen <host:port>', 'serve without an agent, on this address')
  .addOption(agentOption())
  .addOption(transportOption())
  .option('--json', 'print one JSON line when it serves')
  .action(async (options: ServeEchoOptions) => {
    const signals = new ProcessSignals(npmParents);
    const { runServeEcho } = await import('./run-serve-echo.js');
    await runServeEcho(options, signals);
  });

program
  .command('status')
  .description('Show an agent: its links and their transports, clusters, flows, counters and limits.')
  .addOption(adminOption())
  .option('--json', 'print everything as one JSON object')
  .action(async (options: { admin: string; json?: boolean }) => {
    const { runStatus } = await import('./run-status.js');
    await runStatus(options);
  });

program
  .command('top')
  .description('Watch an agent: links, services, rates and latency, anew every second. Ends on q or Ctrl-C.')
  .addOption(adminOption())
  .option('--interval <seconds>', 'time between two looks', positiveNumber, 1)
  .option('--once', 'look once and exit; also where the output is no terminal')
  .option('--json', 'print one JSON object for each look')
  .action(async (options: TopOptions) => {
    const { runTop } = await import('./top/run-top.js');
    await runTop(options);
  });

program
  .command('doctor')
  .description('Examine this machine: what helps or hinders an agent here, and what to do about it.')
  .option('-c, --config <file>', "the agent's configuration")
  .addOption(agentOption())
  .option('--json', 'print one JSON object')
  .action(async (options: DoctorCommandOptions) => {
    const { runDoctor } = await import('./doctor/run-doctor.js');
    await runDoctor(options);
  });

program
  .command('watcher')
  .description(
    'Probe every instance in a Redis registry; take out what does not answer, put back what does. Run two: one is active.',
  )
  .requiredOption('-r, --registry <url>', 'where Redis is: redis://, redis+sentinel://, redis+cluster://')
  .option('--ca-file <file>', "PEM file with the authorities for Redis' certificate")
  .option('--prefix <text>', "first part of the registry's keys", 'ringside')
  .option('--interval <ms>', 'time between two rounds', positiveNumber, 1000)
  .option('--timeout <ms>', 'how long an answer may take', positiveNumber, 1000)
  .option('--failures <n>', 'failures in a row before an instance is taken out', positiveNumber, 3)
  .option('--successes <n>', 'successes in a row before it is put back', positiveNumber, 2)
  .option('--max-share <share>', 'share that may be out at once, of a service and of all', share, 0.5)
  .option('--lease <ms>', 'how long after its death the active watcher is replaced', positiveNumber, 3000)
  .addOption(logFormatOption())
  .addOption(jsonOption())
  .action(async (options: WatcherCommandOptions) => {
    const signals = new ProcessSignals(npmParents);
    const { runWatcher } = await import('./run-watcher.js');
    await runWatcher(options, signals);
  });

const ops = program
  .command('ops')
  .description('Run the ops agent: it keeps an agent running, and upgrades it on command (docs/ops.md).')
  .option('-c, --config <file>', 'configuration in YAML; without it all defaults')
  .option('--check', 'check the configuration and exit')
  .addOption(logFormatOption())
  .addOption(jsonOption())
  .action(async (options: Omit<OpsCommandOptions, 'signals'>) => {
    const signals = new ProcessSignals(npmParents);
    const { runOps } = await import('./run-ops.js');
    await runOps({ ...options, signals });
  });
addOpsCommands(ops, [opsSocketOption, opsUrlOption, opsTokenOption]);

program
  .command('upgrade')
  .description('Let an ops agent bring its agent to another version, and show how it goes.')
  .requiredOption('--version <name>', 'the version')
  .requiredOption(
    '--source <where>',
    'its archive: a path, or a file, http or https URL, as the ops agent reaches it',
  )
  .requiredOption('--sha256 <hex>', "the archive's SHA-256")
  .option('--signature <base64>', 'its ed25519 signature, where the ops agent asks for one')
  .addOption(opsSocketOption())
  .addOption(opsUrlOption())
  .addOption(opsTokenOption())
  .option('--json', 'print a JSON object for each step')
  .action(async (options: UpgradeCommandOptions) => {
    const { runUpgrade } = await import('./run-upgrade.js');
    await runUpgrade(options);
  });

program
  .command('rollback')
  .description('Let an ops agent go back to the version before, and show how it goes.')
  .addOption(opsSocketOption())
  .addOption(opsUrlOption())
  .addOption(opsTokenOption())
  .option('--json', 'print a JSON object for each step')
  .action(async (options: OpsWay & { json?: boolean }) => {
    const { runRollback } = await import('./run-upgrade.js');
    await runRollback(options);
  });

program
  .command('rollout')
  .description(
    'Bring the agents of many ops agents to a version, in waves; stops when too many fail (docs/ops.md).',
  )
  .requiredOption('--targets <file>', 'the ops agents, in YAML')
  .option('--to <version>', 'the version')
  .option('--source <where>', 'its archive, as every ops agent reaches it')
  .option('--sha256 <hex>', "the archive's SHA-256")
  .option('--signature <base64>', 'its ed25519 signature, where the ops agents ask for one')
  .option('--batch <list>', 'how many have the version at the end of each wave', '1,10%,50%,100%')
  .option('--max-failures <n>', 'how many may fail before no further one is touched', wholeNumber, 0)
  .option('--rollback-on-failure', 'roll the others back when too many have failed')
  .option('--parallel <n>', 'upgrades at a time', positiveWhole, 10)
  .option('--state <file>', 'where to write down how far it is; rollout-<version>.json without it')
  .option('--resume <file>', 'go on from such a file; what had failed is tried again')
  .option('--json', 'print a JSON object for each change')
  .action(async (options: RolloutCommandOptions) => {
    const { runRollout } = await import('./run-rollout.js');
    await runRollout(options);
  });

program
  .command('demo')
  .description(
    'The main job on real processes: two agents and two applications, measured beside a direct connection.',
  )
  .option('--seconds <n>', 'time of measuring for each path', positiveNumber, 8)
  .option('--rate <n>', 'calls per second', positiveNumber, 1000)
  .option('--body <bytes>', 'size of the body', positiveNumber, 1024)
  .option('--rounds <n>', 'how often the paths take turns', positiveNumber, 4)
  .option('--json', 'print one JSON object')
  .action(async (options: DemoOptions) => {
    const { runDemo } = await import('./demo/run-demo.js');
    await runDemo(options);
  });

program
  .command('completion')
  .description('Print a completion script for a shell; its first lines say where it belongs.')
  .addArgument(new Argument('<shell>').choices(shells))
  .action((shell: Shell) => write(completionScript(shell, program)));

program.command('demo-server', { hidden: true }).action(async () => {
  const { runDemoServer } = await import('./demo/demo-server.js');
  await runDemoServer();
});
program.command('demo-client', { hidden: true }).action(async () => {
  const { runDemoClient } = await import('./demo/demo-client.js');
  await runDemoClient();
});

function positiveNumber(text: string): number {
  const number = Number(text);
  if (!(number > 0 && Number.isFinite(number)))
    throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (text === '' || !(Number.isSafeInteger(number) && number >= 0))
    throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  return number;
}

function positiveWhole(text: string): number {
  if (wholeNumber(text) === 0) throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
}

function share(text: string): number {
  const number = Number(text);
  if (!(number >= 0 && number < 1)) throw new InvalidArgumentError('It must be a number from 0 to below 1.');
  return number;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

process.once('exit', () => {
  const problem = outputProblem();
  if (problem === undefined) return;
  tell(`ringside: standard output cannot be written: ${errorText(problem)}`);
  process.exitCode ||= 1 satisfies ExitCode;
});
try {
  await program.parseAsync();
} catch (error) {
  const exitCode = exitCodeOf(error);
  process.exitCode = exitCode;
  // The parser has said already what it has to say, and an empty message means the same.
  const isSaid = exitCode === 0 || (error instanceof Error && error.message === '');
  if (asJson && !isSaid) printJson(problemOf(error, exitCode));
  else if (!isSaid && !(error instanceof CommanderError)) tell(`ringside: ${errorText(error)}`);
  // What a command that failed had begun keeps nobody waiting.
  await flushed();
  process.exit();
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ExitError) return error.exitCode;
  // The parser's own code for arguments that cannot be is 1.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof ConfigError ? 2 : 1;
}

function problemOf(error: unknown, exitCode: ExitCode): object {
  const text = errorText(error).replace(/^error: /, '');
  if (!(error instanceof MeshError)) return { error: text, exitCode };
  const { status, retryable, mayHaveRun } = error;
  return { error: text, exitCode, status, retryable, mayHaveRun };
}
