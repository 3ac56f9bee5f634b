/**
 * Talks to an ops agent, over its unix socket or over TCP: for `ringside upgrade`, `rollback`, `rollout` and `ops ...`. A job is followed to its
 * outcome also across a restart of the ops agent.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { Agent, request } from 'undici';
import { errorText } from '../base/errors.js';
import { isOutcome } from './api.js';
import type { Accepted, OpsStatus, Progress, UpgradeRequest, VersionView } from './api.js';

const ANSWER_MS = 10_000;
/** The progress stream says something at least every ten seconds. */
const SILENCE_MS = 30_000;
const AGAIN_MS = 500;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Where an ops agent is. */
export type OpsAddress = { socket: string } | { url: string; token: string };

/** An answer that is a problem, or none at all (`statusCode` undefined). */
export class OpsProblem extends Error {
  constructor(
    message: string,
    readonly statusCode?: number,
  ) {
    super(message);
  }
}

/** See the file's head. */
export class OpsClient {
  readonly #connections: Agent;
  readonly #base: string;
  readonly #headers: Record<string, string>;
  /** For messages. */
  readonly address: string;

  constructor(address: OpsAddress) {
    const socketPath = 'socket' in address ? { socketPath: address.socket } : {};
    this.#connections = new Agent({
      connect: { timeout: ANSWER_MS, ...socketPath },
      headersTimeout: ANSWER_MS,
    });
    this.#base = 'url' in address ? address.url : 'http://localhost';
    this.#headers = 'url' in address ? { authorization: `Bearer ${address.token}` } : {};
    this.address = 'url' in address ? address.url : address.socket;
  }

  /** @throws OpsProblem, as all of these do */
  status(): Promise<OpsStatus> {
    return this.#ask('GET', '/v1/status');
  }

  versions(): Promise<VersionView[]> {
    return this.#ask('GET', '/v1/versions');
  }

  /** @returns the job's id */
  async upgrade(wanted: UpgradeRequest): Promise<string> {
    return (await this.#ask<Accepted>('POST', '/v1/upgrade', wanted)).job;
  }

  /** @returns the job's id */
  async rollback(): Promise<string> {
    return (await this.#ask<Accepted>('POST', '/v1/rollback')).job;
  }

  /** @returns the job's id */
  async adopt(): Promise<string> {
    return (await this.#ask<Accepted>('POST', '/v1/adopt')).job;
  }

  /**
   * Waits for the outcome of a job.
   * @param onProgress called for each step, for some more than once
   * @param patienceMs how long nobody may answer
   * @throws OpsProblem if nobody answers for that long, or the ops agent does not know the job
   */
  async follow(job: string, onProgress: (progress: Progress) => void, patienceMs: number): Promise<Progress> {
    let answeredAtMs = performance.now();
    for (;;) {
      try {
        const outcome = await this.#followOnce(job, (progress) => {
          answeredAtMs = performance.now();
          onProgress(progress);
        });
        if (outcome !== undefined) return outcome;
        answeredAtMs = performance.now();
      } catch (error) {
        if (error instanceof OpsProblem && error.statusCode !== undefined) throw error;
        if (performance.now() - answeredAtMs > patienceMs) throw error;
      }
      await pause(AGAIN_MS);
    }
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#connections.destroy();
  }

  /** The outcome, or undefined if the stream ended before. */
  async #followOnce(job: string, onProgress: (progress: Progress) => void): Promise<Progress | undefined> {
    const { statusCode, body } = await this.#send('GET', '/v1/progress', undefined, SILENCE_MS);
    try {
      if (statusCode !== 200) throw new OpsProblem(`${this.address} answers ${statusCode}`, statusCode);
      // Which may have ended before this stream began, under an ops agent that is gone.
      const { job: now, last } = await this.status();
      if (now?.job !== job && last?.job !== job)
        throw new OpsProblem(`the ops agent at ${this.address} does not know this job`, 404);
      let outcome = last?.job === job ? last : undefined;
      if (outcome !== undefined) return outcome;
      let unfinished = 0;
      const parser = createParser({
        onEvent: ({ data }) => {
          unfinished = 0;
          const progress = JSON.parse(data) as Progress;
          if (progress.job !== job) return;
          onProgress(progress);
          if (isOutcome(progress.step)) outcome = progress;
        },
        onComment: () => (unfinished = 0),
      });
      const decoder = new TextDecoder();
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        unfinished += chunk.length;
        if (unfinished > MAX_ANSWER_BYTES) throw new OpsProblem(`the progress of ${this.address} has no end`);
        parser.feed(decoder.decode(chunk, { stream: true }));
        if (outcome !== undefined) return outcome;
      }
      return undefined;
    } catch (error) {
      throw error instanceof OpsProblem ? error : new OpsProblem(errorText(error));
    } finally {
      body.destroy();
    }
  }

  async #ask<T>(method: 'GET' | 'POST', path: string, content?: object): Promise<T> {
    const { statusCode, body } = await this.#send(method, path, content, ANSWER_MS);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES)
        throw new OpsProblem(`the answer of ${this.address} is too long`, statusCode);
      chunks.push(chunk);
    }
    let answer: T & { detail?: unknown };
    try {
      answer = JSON.parse(Buffer.concat(chunks).toString()) as T & { detail?: unknown };
    } catch {
      throw new OpsProblem(
        `${this.address} does not answer like an ops agent (status ${statusCode})`,
        statusCode,
      );
    }
    if (statusCode >= 400)
      throw new OpsProblem(
        typeof answer.detail === 'string' ? answer.detail : `${this.address} answers ${statusCode}`,
        statusCode,
      );
    return answer;
  }

  async #send(method: 'GET' | 'POST', path: string, content: object | undefined, bodyTimeout: number) {
    try {
      const answer = await request(new URL(path, this.#base), {
        ...{ method, dispatcher: this.#connections, bodyTimeout },
        headers: {
          ...this.#headers,
          ...(content === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(content === undefined ? {} : { body: JSON.stringify(content) }),
      });
      // Destroying it before its end is an error, which here nobody else may be listening for.
      answer.body.on('error', () => undefined);
      return answer;
    } catch (error) {
      throw new OpsProblem(`no ops agent answers at ${this.address} (${errorText(error)})`);
    }
  }
}
