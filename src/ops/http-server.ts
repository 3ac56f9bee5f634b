/**
 * The ops agent's HTTP interface (docs/ops.md): on a unix socket that only this user can open, and over TCP for those who show the token. Answers as
 * the admin server does: JSON, problems as problem+json, no caches, no names but localhost in the Host header.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { guardedServer, sendJson } from '../admin/guarded-server.js';
import { sendProblem } from '../admin/problem.js';
import { sameSecret } from '../base/secret.js';
import { isOutcome, upgradeRequest } from './api.js';
import type { Accepted, OpsStatus, Progress, UpgradeRequest, VersionView } from './api.js';
import type { ProgressLog } from './progress-log.js';

const MAX_PROGRESS_STREAMS = 32;
/** A reader of the progress that lets more than this wait is cut off. */
const MAX_WAITING_BYTES = 256 * 1024;
/** Keeps proxies and readers sure that somebody is there. */
const COMMENT_EVERY_MS = 10_000;

/** What the interface is about; errors with a `statusCode` become that. */
export interface Ops {
  upgrade(request: UpgradeRequest): string;
  rollback(): string;
  adopt(): string;
  status(): OpsStatus;
  versions(): VersionView[];
  progress: ProgressLog;
}

/**
 * The server before it listens.
 * @param token what requests must show; null where the socket's permissions guard it
 */
export function buildOpsServer(
  ops: Ops,
  token: string | null,
  onError: (error: Error) => void,
): FastifyInstance {
  const app = guardedServer({
    bodyLimit: 16 * 1024,
    listing: 'docs/ops.md lists what there is',
    onError,
    admit: (request, reply) => {
      if (token === null || showsToken(request, token)) return undefined;
      reply.header('www-authenticate', 'Bearer');
      return sendProblem(reply, 401, 'Send the token of http.token as "Authorization: Bearer ...".');
    },
  });
  const accept = (reply: FastifyReply, job: string): FastifyReply => {
    const accepted: Accepted = { job, status: '/v1/status', progress: '/v1/progress' };
    return sendJson(reply.code(202).header('location', accepted.status), accepted);
  };
  app.post('/v1/upgrade', async (request, reply) =>
    accept(reply, ops.upgrade(checked(upgradeRequest, request.body))),
  );
  app.post('/v1/rollback', async (_request, reply) => accept(reply, ops.rollback()));
  app.post('/v1/adopt', async (_request, reply) => accept(reply, ops.adopt()));
  app.get('/v1/status', async (_request, reply) => sendJson(reply, ops.status()));
  app.get('/v1/versions', async (_request, reply) => sendJson(reply, ops.versions()));
  app.get('/v1/progress', async (_request, reply) => {
    if (ops.progress.listeners >= MAX_PROGRESS_STREAMS)
      return sendProblem(reply, 503, `At most ${MAX_PROGRESS_STREAMS} may follow the progress at a time.`);
    follow(ops.progress, reply);
    return reply;
  });
  return app;
}

function checked<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw Object.assign(new Error(`The body cannot be used: ${problems.join('; ')}`), { statusCode: 400 });
}

function showsToken({ headers }: FastifyRequest, token: string): boolean {
  const shown = /^Bearer +(\S{1,256})$/i.exec(headers.authorization ?? '')?.[1] ?? '';
  return sameSecret(shown, token);
}

/** Sends the steps of the last job so far, then each new one, until the reader goes. */
function follow(progress: ProgressLog, reply: FastifyReply): void {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { ...reply.getHeaders(), 'content-type': 'text/event-stream' } as Record<
    string,
    string
  >);
  const write = (text: string): void => {
    raw.write(text);
    if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy();
  };
  const send = (one: Progress): void =>
    write(`event: ${isOutcome(one.step) ? 'outcome' : 'step'}\ndata: ${JSON.stringify(one)}\n\n`);
  const stop = progress.listen(send);
  const comments = setInterval(() => write(': still here\n\n'), COMMENT_EVERY_MS);
  raw.once('close', () => {
    stop();
    clearInterval(comments);
  });
  write(': progress of the job under way, or of the last one\n\n');
  for (const one of progress.steps) send(one);
}
