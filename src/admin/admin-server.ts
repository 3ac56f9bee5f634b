/**
 * The admin server: what people, probes and Prometheus may see of a running agent, over HTTP. Started by the agent
 * when its configuration says so; it sees the agent through AgentView only, changes nothing, and answers with an error
 * instead of waiting where the agent does not answer.
 */
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { errorText } from '../base/errors.js';
import { redactConfig } from '../config/redact-config.js';
import type { AgentView } from '../observe/agent-view.js';
import { isAllowedHost } from './host-guard.js';
import { AgentMetrics } from './metrics.js';
import { sendProblem } from './problem.js';

/** Connections at a time. */
const MAX_CONNECTIONS = 64;

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
  app.server.maxConnections = MAX_CONNECTIONS;
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
  const app = fastify({
    bodyLimit: 1_024,
    requestTimeout: 10_000,
    keepAliveTimeout: 5_000,
    forceCloseConnections: true,
    http: { maxHeaderSize: 8_192 },
  });
  const metrics = new AgentMetrics(view);
  const startedMs = performance.now();

  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    if (!isAllowedHost(request.headers.host)) {
      return sendProblem(reply, 421, 'Ask for this server as localhost or by its address.');
    }
    return undefined;
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      reply,
      404,
      `There is no ${request.method} ${request.url.slice(0, 200)}; GET / lists what there is.`,
    ),
  );
  app.setErrorHandler((error, _request, reply) => {
    const claimed = (error as { statusCode?: number }).statusCode ?? 500;
    const status = claimed >= 400 && claimed <= 599 ? claimed : 500;
    if (status >= 500) onError(error instanceof Error ? error : new Error(errorText(error)));
    return sendProblem(reply, status, errorText(error));
  });

  const show = (path: string, look: (reply: FastifyReply) => Promise<unknown>): void => {
    app.get(path, async (_request, reply) => {
      const value = await within(answerMs, look(reply));
      return reply.type('application/json; charset=utf-8').send(`${JSON.stringify(value, null, 2)}\n`);
    });
  };
  show('/', () => Promise.resolve({ paths: PATHS }));
  show('/live', () => Promise.resolve({ ok: true, uptimeMs: Math.round(performance.now() - startedMs) }));
  show('/ready', async (reply) => {
    const ready = await view.ready();
    reply.code(ready.ok ? 200 : 503);
    return ready;
  });
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

const PATHS = [
  '/live',
  '/ready',
  '/links',
  '/clusters',
  '/flows',
  '/counters',
  '/limits',
  '/registry',
  '/programs',
  '/handoff',
  '/config',
  '/metrics',
];

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
