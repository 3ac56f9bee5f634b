// `ringside doctor`: what of this machine helps or hinders an agent, and what to do about it. Exits 1 if something does not work at all.
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import Table from 'cli-table3';
import { defaultAgentSocket } from '../../base/default-socket.js';
import { errorText } from '../../base/errors.js';
import { loadAgentConfig, parseAgentConfig } from '../../config/load-config.js';
import { requireAppLinks } from '../../native/app-link.js';
import { ExitError } from '../exit-error.js';
import { examine } from './checks.js';
import type { Machine } from './checks.js';

export interface DoctorCommandOptions {
  config?: string;
  agent?: string;
  json?: boolean;
}

export function runDoctor(options: DoctorCommandOptions): void {
  const config = options.config === undefined ? parseAgentConfig('') : loadAgentConfig(options.config);
  const socketPath =
    options.agent ?? (options.config === undefined ? defaultAgentSocket() : config.socket.path);
  const findings = examine(thisMachine(), { socketPath, links: config.limits.links });
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ findings })}\n`);
  } else {
    const table = new Table({
      head: ['', 'check', 'found', 'what to do'],
      colWidths: [6, 26, 44, 72],
      wordWrap: true,
      style: { head: [], border: [] },
    });
    for (const { severity, check, found, advice = '' } of findings)
      table.push([severity, check, found, advice]);
    process.stdout.write(`${table.toString()}\n`);
  }
  if (findings.some(({ severity }) => severity === 'fail')) throw new ExitError('', 1);
}

function thisMachine(): Machine {
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
      const facts = statSync(path, { throwIfNoEntry: false });
      if (facts === undefined) return undefined;
      return {
        mode: facts.mode,
        uid: facts.uid,
        isSocket: facts.isSocket(),
        isDirectory: facts.isDirectory(),
      };
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
