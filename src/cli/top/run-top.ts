// `ringside top`: a table of a running agent's services and links that is drawn anew every second. Once it has seen an agent it goes on until it is
// told to end: over a takeover, and while no agent answers.
import { isatty } from 'node:tty';
import { setTimeout as pause } from 'node:timers/promises';
import { errorText } from '../../base/errors.js';
import { shownText } from '../../base/shown.js';
import type { FlowView, IdentityView, LimitView, LinkView, ReadyView } from '../../observe/agent-view.js';
import { askAdmin, askIfKnown } from '../ask-admin.js';
import { outputEnded, print, printJson, redraw } from '../output.js';
import { identityLine } from '../run-status.js';
import { tableOf } from '../table.js';
import { linkRows, serviceRows } from './rates.js';
import type { Look } from './rates.js';

export interface TopOptions {
  admin: string;
  interval: number;
  once?: boolean;
  json?: boolean;
}

const rowsShown = 20;

export async function runTop(options: TopOptions): Promise<void> {
  const asked = new AbortController();
  const end = (): void => asked.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  const restoreKeys = onKeyQ(end);
  const ended = AbortSignal.any([asked.signal, outputEnded]);
  const live = process.stdout.isTTY && !options.once && !options.json;
  try {
    let before = await lookAt(options.admin, ended);
    do {
      await pause(options.interval * 1000, undefined, { signal: ended });
      try {
        const after = await lookAt(options.admin, ended);
        show(options, live, before, after);
        before = after;
      } catch (error) {
        if (options.once || !(live || options.json)) throw error;
        if (!ended.aborted) showAway(live, error);
      }
    } while ((live || options.json) && !options.once && !ended.aborted);
  } catch (error) {
    if (!ended.aborted) throw error;
  } finally {
    restoreKeys();
  }
}

interface WholeLook extends Look {
  agent: IdentityView | undefined;
  ready: ReadyView;
  limits: LimitView[];
}

async function lookAt(admin: string, ended: AbortSignal): Promise<WholeLook> {
  const [agent, links, flows, ready, limits] = await Promise.all([
    askIfKnown<IdentityView>(admin, '/agent', ended),
    askAdmin<LinkView[]>(admin, '/links', ended),
    askAdmin<FlowView[]>(admin, '/flows', ended),
    askAdmin<ReadyView>(admin, '/ready', ended),
    askAdmin<LimitView[]>(admin, '/limits', ended),
  ]);
  return { atMs: performance.now(), agent, links, flows, ready, limits };
}

function show({ admin, json }: TopOptions, live: boolean, before: WholeLook, after: WholeLook): void {
  const { agent, ready, limits } = after;
  if (json) {
    const rows = { services: serviceRows(before, after), links: linkRows(before, after) };
    printJson({ ...(agent === undefined ? {} : { agent }), ready, ...rows, limits });
    return;
  }
  (live ? redraw : print)(draw(admin, before, after));
}

/** In JSON the reader learns of each look that failed. */
function showAway(live: boolean, error: unknown): void {
  if (live) redraw(`${shownText(errorText(error))}\nlooking for it again`);
  else printJson({ error: errorText(error) });
}

function draw(admin: string, before: WholeLook, after: WholeLook): string {
  const { agent, ready, limits } = after;
  // An agent of an older build names no warnings.
  const wrong = ready.ok ? (ready.warnings ?? []) : ready.reasons;
  const state = [ready.ok ? 'ready' : 'not ready', ...(wrong.length > 0 ? [wrong.join('; ')] : [])].join(
    ': ',
  );
  const full = limits
    .filter(({ used, max }) => used * 2 > max)
    .map(({ name, used, max }) => `${name} ${used}/${max}`);
  const services = serviceRows(before, after)
    .slice(0, rowsShown)
    .map(({ direction, service, requestsPerSecond, failedPerSecond, p50Us, p99Us }) => [
      direction,
      service,
      ...[requestsPerSecond, failedPerSecond, p50Us, p99Us].map(Math.round),
    ]);
  const links = linkRows(before, after)
    .slice(0, rowsShown)
    .map(({ id, kind, role, app, peer, requestsPerSecond, bytesPerSecond, pending, outboundBytes }) => [
      ...[id, kind, role, app, peer, Math.round(requestsPerSecond), Math.round(bytesPerSecond / 1024)],
      ...[pending, outboundBytes],
    ]);
  return [
    shownText(`${admin}: ${state}`),
    ...(agent === undefined ? [] : [identityLine(agent)]),
    ...(full.length === 0 ? [] : [shownText(`over half full: ${full.join(', ')}`)]),
    '',
    tableOf(['direction', 'service', 'req/s', 'failed/s', 'p50 µs', 'p99 µs'], services),
    '',
    tableOf(['link', 'kind', 'role', 'app', 'peer', 'req/s', 'KiB/s', 'pending', 'queued B'], links),
  ].join('\n');
}

/** Standard input may be closed, absent or a file: only a terminal has keys. Returns what puts it back as it was. */
function onKeyQ(end: () => void): () => void {
  if (!isatty(0)) return () => undefined;
  const { stdin } = process;
  stdin.setRawMode(true);
  stdin.on('data', (key: Buffer) => {
    if (key.toString() === 'q' || key[0] === 3) end();
  });
  return () => {
    stdin.setRawMode(false);
    stdin.pause();
  };
}
