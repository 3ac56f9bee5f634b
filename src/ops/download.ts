/**
 * Brings an archive onto this machine: from a file or an http or https URL into a file of ours, never more than the configured size, never
 * longer than the configured times, counted and hashed on the way. What is at the other end is not trusted before its hash was compared. It runs in
 * fetch-process.ts: a file system that does not answer blocks threads, which only the end of a process ends.
 */
import { createHash } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { open as openFile, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { Agent, interceptors, request } from 'undici';
import { errorText } from '../base/errors.js';

const MAX_REDIRECTIONS = 5;

export interface DownloadLimits {
  maxDownloadBytes: number;
  downloadMs: number;
  stallMs: number;
}

export interface DownloadOptions {
  limits: DownloadLimits;
  signal: AbortSignal;
  /** Called with each piece; `totalBytes` is absent where the server does not say. */
  onBytes: (bytes: number, totalBytes: number | undefined) => void;
}

/**
 * @param source absolute path, or a file, http or https URL
 * @returns the SHA-256 of what was written to `target`, in hexadecimal
 * @throws Error in words, whatever went wrong; `target` may then be there in part
 */
export async function download(source: string, target: string, options: DownloadOptions): Promise<string> {
  const { limits, onBytes } = options;
  const late = AbortSignal.timeout(limits.downloadMs);
  const signal = AbortSignal.any([options.signal, late]);
  // Of our own, so that its connections end with the download.
  const connections = new Agent({
    connect: { timeout: limits.stallMs },
    headersTimeout: limits.stallMs,
    bodyTimeout: limits.stallMs,
  });
  try {
    const { body, totalBytes } = await open(source, connections, signal);
    if (totalBytes !== undefined && totalBytes > limits.maxDownloadBytes) {
      body.destroy();
      throw new Error(tooLarge(limits));
    }
    const hash = createHash('sha256');
    let bytes = 0;
    const count = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (bytes > limits.maxDownloadBytes) return done(new Error(tooLarge(limits)));
        if (totalBytes !== undefined && bytes > totalBytes)
          return done(new Error(`it goes on behind the ${totalBytes} bytes that were announced`));
        hash.update(chunk);
        onBytes(bytes, totalBytes);
        return done(null, chunk);
      },
    });
    await pipeline(body, count, createWriteStream(target, { mode: 0o600 }), { signal });
    if (totalBytes !== undefined && bytes !== totalBytes)
      throw new Error(`it ended after ${bytes} of ${totalBytes} bytes`);
    return hash.digest('hex');
  } catch (error) {
    if (options.signal.aborted) throw new Error('the download was called off', { cause: error });
    if (late.aborted)
      throw new Error(`the download took longer than versions.downloadMs, ${limits.downloadMs} ms`, {
        cause: error,
      });
    throw new Error(`the download failed: ${withCause(error)}`, { cause: error });
  } finally {
    await connections.destroy();
  }
}

async function open(
  source: string,
  connections: Agent,
  signal: AbortSignal,
): Promise<{ body: Readable; totalBytes?: number }> {
  if (/^https?:/.test(source)) {
    const dispatcher = connections.compose(interceptors.redirect({ maxRedirections: MAX_REDIRECTIONS }));
    const { statusCode, headers, body } = await request(source, { dispatcher, signal });
    // Destroying it before its end is an error, which here nobody else may be listening for.
    body.on('error', () => undefined);
    if (statusCode !== 200) {
      body.destroy();
      throw new Error(`the server answers ${statusCode}`);
    }
    const length = headers['content-length'];
    return { body, ...(typeof length === 'string' ? { totalBytes: Number(length) } : {}) };
  }
  const path = source.startsWith('/') ? source : fileURLToPath(source);
  // Looked at before it is opened, since that alone does something to some devices, and after, since it may be another one by then.
  mustHoldBytes(path, await stat(path));
  const file = await openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { size } = mustHoldBytes(path, await file.stat());
    return { body: file.createReadStream({ end: size - 1 }), totalBytes: size };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Files of the kernel call themselves regular and empty, and reading them may wait for ever. */
function mustHoldBytes<T extends { isFile(): boolean; size: number }>(path: string, facts: T): T {
  if (!facts.isFile()) throw new Error(`${path} is no regular file`);
  if (facts.size === 0) throw new Error(`${path} is empty`);
  return facts;
}

function tooLarge({ maxDownloadBytes }: DownloadLimits): string {
  return `the archive is larger than versions.maxDownloadBytes, ${maxDownloadBytes}`;
}

function withCause(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? ` (${errorText(error.cause)})` : '';
  return `${errorText(error)}${cause}`;
}
