/**
 * What the HTTP servers of an agent and of the ops agent have in common: bounds of connections and requests, JSON without caches, problems as
 * problem+json, and no names but localhost in the Host header. Their paths are their own.
 */
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { errorText } from '../base/errors.js';
import { shownJson } from '../base/shown.js';
import { shareConnections } from './connection-shares.js';
import { isAllowedHost } from './host-guard.js';
import { sendProblem } from './problem.js';

/** Connections at a time. */
const MAX_CONNECTIONS = 64;
/** How long the first line and the headers of a request may take; Node looks as often. */
const HEADERS_MS = 2_000;
/** How long a whole request may take. */
const REQUEST_MS = 10_000;

export interface GuardedServerOptions {
  /** Bytes that a request's body may have. */
  bodyLimit: number;
  /** Where the reader of a 404 finds what there is, as the end of a sentence. */
  listing: string;
  /** Called with failures that the caller was told of as status 500 or above. */
  onError: (error: Error) => void;
  /** Looks at a request that came by an allowed name; answers it where it is not to go on. */
  admit?: (request: FastifyRequest, reply: FastifyReply) => FastifyReply | undefined;
}

/** The server before it has paths and listens; errors with a `statusCode` become that. */
export function guardedServer(options: GuardedServerOptions): FastifyInstance {
  const { bodyLimit, listing, onError, admit } = options;
  const app = fastify({
    bodyLimit,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: 5_000,
    forceCloseConnections: true,
    http: { maxHeaderSize: 8_192, headersTimeout: HEADERS_MS, connectionsCheckingInterval: HEADERS_MS / 2 },
  });
  shareConnections(app.server, MAX_CONNECTIONS);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    if (!isAllowedHost(request.headers.host)) {
      return sendProblem(reply, 421, 'Ask for this server as localhost or by its address.');
    }
    return admit?.(request, reply);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, 404, `There is no ${request.method} ${request.url.slice(0, 200)}; ${listing}.`),
  );
  app.setErrorHandler((error, _request, reply) => {
    const claimed = (error as { statusCode?: number }).statusCode ?? 500;
    const status = claimed >= 400 && claimed <= 599 ? claimed : 500;
    if (status >= 500) onError(error instanceof Error ? error : new Error(errorText(error)));
    return sendProblem(reply, status, errorText(error));
  });
  return app;
}

/** Answers with JSON that people can read too, in a terminal as well. */
export function sendJson(reply: FastifyReply, value: unknown): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(`${shownJson(JSON.stringify(value, null, 2))}\n`);
}
