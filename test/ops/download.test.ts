import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { download } from '../../src/ops/download.js';

const bytes = gzipSync(Buffer.from('the archive'.repeat(1_000)));
const sha256 = createHash('sha256').update(bytes).digest('hex');
const limits = { maxDownloadBytes: 10_000, downloadMs: 60_000, stallMs: 60_000 };

const answers: Record<string, RequestListener> = {
  '/whole': (_request, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes),
  '/pieces': (_request, response) => {
    response.write(bytes.subarray(0, 10));
    response.end(bytes.subarray(10));
  },
  // A body that a client could decompress on its way is hashed as it is.
  '/encoded': (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bytes),
  '/moved': (_request, response) => response.writeHead(302, { location: '/whole' }).end(),
  '/circle': (_request, response) => response.writeHead(302, { location: '/circle' }).end(),
  '/missing': (_request, response) => response.writeHead(404).end('no'),
  '/early': (_request, response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 10), () => response.destroy());
  },
  '/early-pieces': (_request, response) => {
    response.write(bytes.subarray(0, 10), () => response.destroy());
  },
  '/large': (_request, response) =>
    response.writeHead(200, { 'content-length': 10_001 }).end(Buffer.alloc(10_001)),
  '/endless': (_request, response) => {
    const more = (): void => void response.write(Buffer.alloc(1_000), (error) => error ?? more());
    more();
  },
  '/silent': () => undefined,
  '/stalling': (_request, response) => void response.write(bytes.subarray(0, 10)),
};

const server = createServer((request, response) => answers[request.url ?? '']?.(request, response));
let directory: string;
let base: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-download-'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

async function fetched(
  source: string,
  changes: Partial<typeof limits> = {},
  signal = new AbortController().signal,
) {
  const target = join(directory, 'target');
  let told: [number, number | undefined] = [0, undefined];
  const options = {
    limits: { ...limits, ...changes },
    signal,
    onBytes: (...now: typeof told) => void (told = now),
  };
  const hash = await download(source, target, options);
  return { hash, told, written: readFileSync(target) };
}

describe('an archive', () => {
  it.each([
    ['/whole', bytes.length],
    ['/pieces', undefined],
    ['/encoded', undefined],
    ['/moved', bytes.length],
  ])('from %s', async (path, total) => {
    expect(await fetched(base + path)).toEqual({ hash: sha256, told: [bytes.length, total], written: bytes });
  });

  it('from a file, by its path or its URL', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, bytes);
    for (const source of [file, pathToFileURL(file).href])
      expect(await fetched(source)).toMatchObject({ hash: sha256, told: [bytes.length, bytes.length] });
  });
});

describe('fails in words', () => {
  it.each([
    ['/missing', {}, 'the server answers 404'],
    ['/circle', {}, 'Redirect loop'],
    ['/early', {}, 'the download failed'],
    ['/early-pieces', {}, 'the download failed'],
    ['/large', {}, 'larger than versions.maxDownloadBytes, 10000'],
    ['/endless', {}, 'larger than versions.maxDownloadBytes, 10000'],
    ['/silent', { stallMs: 100 }, 'Headers Timeout'],
    ['/stalling', { stallMs: 100 }, 'Body Timeout'],
    ['/stalling', { downloadMs: 100 }, 'longer than versions.downloadMs, 100 ms'],
  ])('%s %j', async (path, changes, said) => {
    await expect(fetched(base + path, changes)).rejects.toThrow(said);
  });

  it('for what is no file, what is not there, and nobody at the other end', async () => {
    const pipe = join(directory, 'pipe');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    for (const path of [directory, pipe, '/dev/zero'])
      await expect(fetched(path)).rejects.toThrow(`${path} is no regular file`);
    // Regular as it says itself, and whoever reads it waits for the kernel's next message.
    await expect(fetched('/proc/kmsg')).rejects.toThrow('/proc/kmsg is empty');
    await expect(fetched(join(directory, 'nothing'))).rejects.toThrow('ENOENT');
    await expect(fetched('http://127.0.0.1:1/x')).rejects.toThrow('ECONNREFUSED');
  });

  it('when it is called off', async () => {
    const off = new AbortController();
    const running = fetched(`${base}/stalling`, {}, off.signal);
    off.abort();
    await expect(running).rejects.toThrow('called off');
  });
});
