import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it, vi } from 'vitest';
import { recorder, useRegistryDirectory } from './registry-fixture.js';

const fixture = useRegistryDirectory();
const children: ChildProcess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

interface Report {
  left: string[];
  problems: string[];
}

function start(...args: string[]): { child: ChildProcess; report: Promise<Report> } {
  const child = fork(
    fileURLToPath(new URL('registry-process.ts', import.meta.url)),
    [fixture.directory, ...args],
    {
      execArgv: ['--import', new URL('ts-loader.mjs', import.meta.url).href],
    },
  );
  children.push(child);
  const report = new Promise<Report>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Report));
    child.once('exit', (code, signal) => reject(new Error(`the process ended: ${code ?? signal}`)));
  });
  return { child, report };
}

it(
  'two processes that churn in one directory agree with a third that only watches',
  { timeout: 60_000 },
  async () => {
    const leaseMs = 2_000;
    const registry = await fixture.open({ sweepMs: 50 });
    const seen = recorder();
    registry.watch('orders', undefined, seen.listener);
    // Seeds that leave something registered on both sides.
    const reports = await Promise.all(
      [start('churn', 'x', '7', String(leaseMs)), start('churn', 'y', '11', String(leaseMs))].map(
        ({ report }) => report,
      ),
    );
    const left = reports.flatMap((report) => report.left).sort();
    expect(left.length).toBeGreaterThan(2);
    await registry.refresh();
    expect([...seen.last()].sort()).toEqual(left);
    // Renewals go on in both processes; nobody loses anybody while leases pass.
    const told = seen.lists.length;
    const names = readdirSync(fixture.directory).filter((name) => name.endsWith('.json'));
    const oldestMs = (): number =>
      Math.min(...names.map((name) => statSync(join(fixture.directory, name)).mtimeMs));
    const startedMs = oldestMs();
    await vi.waitFor(() => expect(oldestMs()).toBeGreaterThan(startedMs + 1.5 * leaseMs), {
      timeout: 30_000,
    });
    await registry.refresh();
    expect(seen.lists.length).toBe(told);
    expect(reports.flatMap((report) => report.problems).concat(registry.problem ?? [])).toEqual([]);
    expect(readdirSync(fixture.directory).filter((name) => !name.endsWith('.json'))).toEqual([]);
  },
);

it(
  'an instance whose process is killed goes when its lease ends, and its file after that',
  { timeout: 60_000 },
  async () => {
    const leaseMs = 600;
    const registry = await fixture.open({ sweepMs: 50 });
    const lists: string[][] = [];
    let told: () => void = () => undefined;
    registry.watch('orders', undefined, (list) => {
      lists.push(list.map(({ id }) => id));
      told();
    });
    const { child, report } = start('hold', 'victim', '1', String(leaseMs));
    await report;
    await registry.refresh();
    expect(lists.at(-1)).toEqual(['victim']);

    const gone = new Promise<void>((resolve) => (told = resolve));
    const killedMs = performance.now();
    child.kill('SIGKILL');
    await gone;
    expect(lists.at(-1)).toEqual([]);
    // Renewed at most a third of a lease before it died.
    expect(performance.now() - killedMs).toBeGreaterThan(leaseMs / 2);
    await vi.waitFor(() => expect(readdirSync(fixture.directory)).toEqual([]), { timeout: 20_000 });
  },
);
