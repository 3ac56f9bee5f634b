// `ringside top`: a table of a running agent's services and links that is drawn anew every second.
import { setTimeout as pause } from 'node:timers/promises';
import Table from 'cli-table3';
import type { FlowView, LimitView, LinkView, ReadyView } from '../../observe/agent-view.js';
import { askAdmin } from '../ask-admin.js';
import { linkRows, serviceRows } from './rates.js';
import type { Look } from './rates.js';

export interface TopOptions {
  admin: string;
  interval: number;
  once?: boolean;
  json?: boolean;
}

const clearScreen = '\u001b[2J\u001b[H';
const rowsShown = 20;

export async function runTop(options: TopOptions): Promise<void> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  onKeyQ(end);
  const live = process.stdout.isTTY && !options.once && !options.json;
  let before = await lookAt(options.admin);
  try {
    do {
      await pause(options.interval * 1000, undefined, { signal: ended.signal });
      const after = await lookAt(options.admin);
      const [ready, limits] = await Promise.all([
        askAdmin<ReadyView>(options.admin, '/ready'),
        askAdmin<LimitView[]>(options.admin, '/limits'),
      ]);
      if (options.json) {
        const services = serviceRows(before, after);
        process.stdout.write(
          `${JSON.stringify({ ready, services, links: linkRows(before, after), limits })}\n`,
        );
      } else {
        process.stdout.write((live ? clearScreen : '') + draw(options.admin, ready, limits, before, after));
      }
      before = after;
    } while ((live || options.json) && !options.once && !ended.signal.aborted);
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  } finally {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.unref();
  }
}

async function lookAt(admin: string): Promise<Look> {
  const [links, flows] = await Promise.all([
    askAdmin<LinkView[]>(admin, '/links'),
    askAdmin<FlowView[]>(admin, '/flows'),
  ]);
  return { atMs: performance.now(), links, flows };
}

function draw(admin: string, ready: ReadyView, limits: LimitView[], before: Look, after: Look): string {
  const state = ready.ok ? 'ready' : `not ready: ${ready.reasons.join('; ')}`;
  const full = limits
    .filter(({ used, max }) => used * 2 > max)
    .map(({ name, used, max }) => `${name} ${used}/${max}`);
  const services = new Table({
    head: ['direction', 'service', 'req/s', 'failed/s', 'p50 µs', 'p99 µs'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of serviceRows(before, after).slice(0, rowsShown)) {
    const { direction, service, requestsPerSecond, failedPerSecond, p50Us, p99Us } = row;
    services.push([
      direction,
      service,
      ...[requestsPerSecond, failedPerSecond, p50Us, p99Us].map(Math.round),
    ]);
  }
  const links = new Table({
    head: ['link', 'kind', 'role', 'app', 'peer', 'req/s', 'KiB/s', 'pending', 'queued B'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of linkRows(before, after).slice(0, rowsShown)) {
    const { id, kind, role, app, peer, requestsPerSecond, bytesPerSecond, pending, outboundBytes } = row;
    const figures = [
      Math.round(requestsPerSecond),
      Math.round(bytesPerSecond / 1024),
      pending,
      outboundBytes,
    ];
    links.push([id, kind, role, app, peer, ...figures]);
  }
  const busy = full.length === 0 ? '' : `over half full: ${full.join(', ')}\n`;
  return `${admin}: ${state}\n${busy}${services.toString()}\n${links.toString()}\n`;
}

function onKeyQ(end: () => void): void {
  if (!process.stdin.isTTY) return;
  process.stdin.setRawMode(true);
  process.stdin.on('data', (key: Buffer) => {
    if (key.toString() === 'q' || key[0] === 3) end();
  });
}
