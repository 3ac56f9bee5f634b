// `ringside doctor`: what of this machine helps or hinders an agent, and what to do about it. Exits 1 if something does not work at all.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import Table from 'cli-table3';
import { defaultAgentSocket } from '../../base/default-socket.js';
import { errorText } from '../../base/errors.js';
import { shownText } from '../../base/shown.js';
import { loadAgentConfig, parseAgentConfig } from '../../config/load-config.js';
import { requireAppLinks } from '../../native/app-link.js';
import { whyPeersAreUnknown } from '../../native/peer-user.js';
import { connect } from '../../sdk/connect.js';
import { ExitError } from '../exit-error.js';
import { print, printJson } from '../output.js';
import { examine, isTcp } from './checks.js';
import type { Attempt, Machine } from './checks.js';

export interface DoctorCommandOptions {
  config?: string;
  agent?: string;
  json?: boolean;
}

/** How long an agent may take to open a link. */
const connectTimeoutMs = 2_000;

export async function runDoctor(options: DoctorCommandOptions): Promise<void> {
  const config = options.config === undefined ? parseAgentConfig('') : loadAgentConfig(options.config);
  const address = options.agent ?? (options.config === undefined ? defaultAgentSocket() : config.socket.path);
  const machine = { ...thisMachine(), peersProblem: await whyPeersAreUnknown() };
  const attempt = isTcp(address) || isSocket(machine, address) ? await linkTo(address) : undefined;
  const { limits, loopback, inbound } = config;
  const findings = examine(machine, { address, attempt, links: limits.links, loopback, inbound });
  if (options.json) {
    printJson({ findings });
  } else {
    const table = new Table({
      head: ['', 'check', 'found', 'what to do'],
      colWidths: [6, 26, 44, 72],
      wordWrap: true,
      style: { head: [], border: [] },
    });
    for (const { severity, check, found, advice = '' } of findings)
      table.push([severity, check, shownText(found), shownText(advice)]);
    print(table.toString());
  }
  if (findings.some(({ severity }) => severity === 'fail')) throw new ExitError('', 1);
}

function isSocket(machine: Pick<Machine, 'stat'>, path: string): boolean {
  const facts = machine.stat(path);
  return typeof facts === 'object' && facts.isSocket;
}

/** Opens a link as an application would, the best there is, and closes it. */
async function linkTo(agent: string): Promise<Attempt> {
  let problem = '';
  for (const transport of isTcp(agent) ? (['tcp'] as const) : (['shm', 'unix'] as const)) {
    try {
      const client = await connect({
        ...{ app: 'ringside-doctor', agent, transport, connectTimeoutMs },
        log: () => undefined,
      });
      await client.close();
      return { transport };
    } catch (error) {
      problem = errorText(error);
    }
  }
  return { problem };
}

function thisMachine(): Omit<Machine, 'peersProblem'> {
  return {
    platform: process.platform,
    kernelRelease: release(),
    processors: availableParallelism(),
    uid: process.getuid?.() ?? 0,
    read: (path) => {
      try {
        return readFileSync(path, 'utf8').trim();
      } catch {
        return undefined;
      }
    },
    stat: (path) => {
      try {
        const facts = statSync(path);
        return {
          mode: facts.mode,
          uid: facts.uid,
          isSocket: facts.isSocket(),
          isDirectory: facts.isDirectory(),
        };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        return code === 'ENOENT' || code === 'ENOTDIR' ? undefined : 'hidden';
      }
    },
    mayWrite: (path) => {
      try {
        accessSync(path, constants.W_OK);
        return true;
      } catch {
        return false;
      }
    },
    addonProblem: () => {
      try {
        requireAppLinks();
        return undefined;
      } catch (error) {
        return errorText(error);
      }
    },
  };
}
