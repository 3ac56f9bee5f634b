/**
 * The admin server: what people, probes and Prometheus may see of a running agent, over HTTP. Started by the agent
 * when its configuration says so; it sees the agent through AgentView only, changes nothing, and answers with an error
 * instead of waiting where the agent does not answer.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { redactConfig } from '../config/redact-config.js';
import type { AgentView } from '../observe/agent-view.js';
import { guardedServer, sendJson } from './guarded-server.js';
import { AgentMetrics } from './metrics.js';

/** See the file's head. */
export interface AdminOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** How long the agent may take to answer one question. Default 5000. */
  answerMs?: number;
  /** Called with failures that the caller was told of as status 500 or 503. */
  onError?: (error: Error) => void;
}

/** A running admin server. */
export interface AdminServer {
  readonly host: string;
  readonly port: number;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

/**
 * Starts the admin server.
 * @throws the system's error if it cannot listen there
 */
export async function startAdminServer(view: AgentView, options: AdminOptions): Promise<AdminServer> {
  const app = buildAdminApp(view, options);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    throw error;
  }
  const bound = app.server.address();
  const port = typeof bound === 'object' && bound ? bound.port : options.port;
  return { host: options.host, port, close: () => app.close() };
}

/** The server before it listens; tests inject requests into it. */
export function buildAdminApp(
  view: AgentView,
  options: Pick<AdminOptions, 'answerMs' | 'onError'> = {},
): FastifyInstance {
  const { answerMs = 5_000, onError = () => undefined } = options;
  const app = guardedServer({ bodyLimit: 1_024, listing: 'GET / lists what there is', onError });
  const metrics = new AgentMetrics(view);
  const startedMs = performance.now();

  const show = (path: string, look: (reply: FastifyReply) => Promise<unknown>): void => {
    app.get(path, async (_request, reply) => {
      const value = await within(answerMs, look(reply));
      return sendJson(reply, value);
    });
  };
  show('/', () => Promise.resolve({ paths: Object.keys(PATHS) }));
  show('/live', () => Promise.resolve({ ok: true, uptimeMs: Math.round(performance.now() - startedMs) }));
  show('/ready', async (reply) => {
    const ready = await view.ready();
    reply.code(ready.ok ? 200 : 503);
    return ready;
  });
  show('/agent', () => view.identity());
  show('/links', () => view.links());
  show('/clusters', () => view.clusters());
  show('/flows', async () => (await view.flows()).map(({ sketch: _hidden, ...shown }) => shown));
  show('/counters', () => view.counters());
  show('/limits', () => view.limits());
  show('/registry', () => view.registry());
  show('/programs', () => view.programs());
  show('/handoff', () => view.handoff());
  show('/config', async () => {
    const config = await view.config();
    return typeof config === 'object' && config !== null ? redactConfig(config) : null;
  });
  app.get('/metrics', async (_request, reply) => {
    const text = await within(answerMs, metrics.scrape());
    return reply.type(metrics.contentType).send(text);
  });
  return app;
}

/** What there is, and what it says; docs/admin.md is written from it. */
export const PATHS: Readonly<Record<string, string>> = {
  '/live': 'That the process answers, and for how long it has run: for a liveness probe.',
  '/ready':
    'Whether the agent can serve, 200 or 503, with the reasons, and `warnings` of what is wrong although it can: for a readiness probe.',
  '/agent': 'Version, commit, process, uptime, app and configuration of the agent that answers.',
  '/links': 'Connections to applications, other agents and programs: who, how, what is under way and queued.',
  '/clusters': 'Services and groups that are in use, each endpoint with its state.',
  '/flows': 'Kinds of requests that were seen: counts by status, latencies.',
  '/counters': 'What the engine counts ([metrics.md](metrics.md)).',
  '/limits': 'Each bound, and how much of it is used.',
  '/registry': 'Whether the registry answers, what is watched, registered, held from disk.',
  '/programs': 'Programs under `publish`, with their state and what is wrong with them.',
  '/handoff': 'Takeovers: how many, and the last one with its freeze and what moved.',
  '/config': 'The configuration in force, secrets left out.',
  '/metrics': 'Everything for Prometheus ([metrics.md](metrics.md)).',
};

/** The answer, or an error with status 503 once it takes too long. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error(`the agent did not answer within ${ms} ms`), { statusCode: 503 }));
    }, ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
