/** Errors of the admin server as RFC 9457 problem details, so that scripts can read them like people do. */
import { STATUS_CODES } from 'node:http';
import { shownJson } from '../base/shown.js';
import type { FastifyReply } from 'fastify';

/** Answers with a problem: HTTP status and one sentence that says what to do. */
export function sendProblem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  const problem = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail };
  return reply
    .code(status)
    .type('application/problem+json')
    .send(`${shownJson(JSON.stringify(problem, null, 2))}\n`);
}
