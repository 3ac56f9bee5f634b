// A small agent for the SDK's tests: speaks the mesh protocol on a unix socket and on TCP, answers publish and
// unpublish, routes requests to whoever published the service, and can be told to misbehave. It records what comes,
// and waitFor() lets tests wait for an event instead of sleeping.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FrameType, encodeFrame } from '../../src/protocol/frame.js';
import type { Frame, FrameFields } from '../../src/protocol/frame.js';
import { FrameParser } from '../../src/protocol/frame-parser.js';
import { decodeHeader, encodeHeader } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';
import { hasMore, isReply } from '../../src/protocol/stream-frame.js';
import { keepFrame } from './raw-peer.js';
import { Waiters } from './waiters.js';

export interface FakeAgentOptions {
  unix?: boolean;
  tcp?: boolean;
  /** Grants rings to those who ask: the fake app link then speaks frames on the same socket. */
  rings?: boolean;
  /** Where to listen again after a restart. */
  path?: string;
}

/** One accepted connection. */
export class FakeAgentLink {
  readonly frames: Frame[] = [];
  hello: Frame | undefined;
  header: Header | undefined;
  closed = false;

  constructor(readonly socket: Socket) {}

  send(fields: FrameFields): void {
    this.socket.write(encodeFrame(fields));
  }

  reply(request: Frame, fields: Omit<FrameFields, 'type'> = {}): void {
    this.send({ type: FrameType.response, idLo: request.idLo, idHi: request.idHi, ...fields });
  }

  /** Frames of one type that came so far. */
  of(type: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type);
  }
}

type OnRequest = (link: FakeAgentLink, request: Frame, header: Header) => void;

export class FakeAgent {
  readonly links: FakeAgentLink[] = [];
  readonly publications: { link: FakeAgentLink; service: string; body: string }[] = [];
  readonly calls: string[] = [];
  /** Refuses every hello with this status and text. */
  refuse: { status: number; text: string } | undefined;
  /** Refuses every publication. */
  refusePublish: { status: number; text: string } | undefined;
  rings: boolean;
  answersPings = true;
  answersUnpublish = true;
  /** Bytes to send instead of a welcome. */
  insteadOfWelcome: Buffer | undefined;
  /** What to do with requests; default: route to the publisher, else UNAVAILABLE with NOT_RUN. */
  onRequest: OnRequest = (link, request, header) => this.route(link, request, header);
  readonly path: string;
  readonly #servers: Server[] = [];
  readonly #waiters = new Waiters();
  readonly #routed = new Map<string, { link: FakeAgentLink; request: Frame; target: FakeAgentLink }>();
  #nextId = 1;
  #directory: string | undefined;

  private constructor(options: FakeAgentOptions) {
    this.rings = options.rings ?? false;
    this.path =
      options.path ?? join((this.#directory = mkdtempSync(join(tmpdir(), 'ringside-test-'))), 'agent.sock');
  }

  static async start(options: FakeAgentOptions = { unix: true }): Promise<FakeAgent> {
    const agent = new FakeAgent(options);
    if (options.unix) await agent.#listen({ path: agent.path });
    if (options.tcp) await agent.#listen({ host: '127.0.0.1', port: 0 });
    return agent;
  }

  get tcp(): string {
    const server = this.#servers.find((candidate) => typeof candidate.address() === 'object')!;
    return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  get openLinks(): FakeAgentLink[] {
    return this.links.filter((link) => !link.closed);
  }

  /** Resolves with the first answer of `check` that is neither undefined nor false; it is asked on every event. */
  waitFor<T>(check: () => T | undefined | false): Promise<T> {
    return this.#waiters.waitFor(check);
  }

  /** Ends all links and stops listening; the path stays free for another agent. */
  async stop(): Promise<void> {
    for (const link of this.links) link.socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }

  /** As stop(), but keeps the socket's directory for a successor at the same path. */
  async crash(): Promise<void> {
    this.#directory = undefined;
    await this.stop();
  }

  route(link: FakeAgentLink, request: Frame, header: Header): void {
    const target = this.publications.find(({ service }) => service === header.service)?.link;
    if (target === undefined) {
      link.reply(request, { status: 14, flags: 2, header: encodeHeader({ statusMessage: 'no endpoint' }) });
      return;
    }
    const idLo = this.#nextId++;
    if (request.type === FrameType.request) this.#routed.set(String(idLo), { link, request, target });
    const { type, flags, timeoutMs, value, body } = request;
    target.send({ type, flags, timeoutMs, value, idLo: type === 1 ? idLo : 0, header: request.header, body });
  }

  #listen(at: { path: string } | { host: string; port: number }): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    this.#servers.push(server);
    return new Promise((resolve, reject) => server.once('error', reject).listen(at, resolve));
  }

  #accept(socket: Socket): void {
    const link = new FakeAgentLink(socket);
    const parser = new FrameParser();
    this.links.push(link);
    socket.on('data', (chunk: Buffer) => {
      const problem = parser.push(chunk, (frame) => this.#onFrame(link, frame));
      if (problem !== undefined) socket.destroy(new Error(problem));
      this.#notify();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      link.closed = true;
      for (let i = this.publications.length - 1; i >= 0; i -= 1) {
        if (this.publications[i]!.link === link) this.publications.splice(i, 1);
      }
      this.#notify();
    });
  }

  #notify(): void {
    this.#waiters.look();
  }

  #onFrame(link: FakeAgentLink, frame: Frame): void {
    if (link.hello === undefined) {
      link.hello = frame;
      link.header = decodeHeader(frame.header);
      if (this.insteadOfWelcome !== undefined) link.socket.write(this.insteadOfWelcome);
      else if (this.refuse !== undefined) {
        const { status, text } = this.refuse;
        link.send({ type: FrameType.welcome, status, header: encodeHeader({ statusMessage: text }) });
        link.socket.end();
      } else if (frame.value > 0 && !this.rings) {
        link.send({ type: FrameType.welcome, header: encodeHeader({ statusMessage: 'rings are off' }) });
      } else link.send({ type: FrameType.welcome, value: frame.value });
      return;
    }
    link.frames.push(keepFrame(frame));
    if (frame.type === FrameType.ping && this.answersPings) {
      link.send({ type: FrameType.pong, idLo: frame.idLo, idHi: frame.idHi });
    } else if (frame.type === FrameType.request || frame.type === FrameType.oneWay) this.#serve(link, frame);
    else if (frame.type === FrameType.response) {
      const routed = this.#routed.get(String(frame.idLo));
      if (routed === undefined) return;
      if (!hasMore(frame)) this.#routed.delete(String(frame.idLo));
      const { status, flags, value, header, body } = frame;
      routed.link.reply(routed.request, { status, flags, value, header, body });
    } else if (frame.type === FrameType.chunk || frame.type === FrameType.credit) {
      this.#passOn(link, frame);
    } else if (frame.type === FrameType.cancel) {
      for (const [id, { link: from, request }] of this.#routed) {
        if (from !== link || request.idLo !== frame.idLo || request.idHi !== frame.idHi) continue;
        const target = this.publications.find(
          ({ service }) => service === decodeHeader(request.header).service,
        )?.link;
        target?.send({ type: FrameType.cancel, idLo: Number(id) });
      }
    }
  }

  /** Chunks and credits go on as they are, under the other link's id. */
  #passOn(from: FakeAgentLink, frame: Frame): void {
    const { type, flags, status, value, header, body } = frame;
    for (const [id, { link, request, target }] of this.#routed) {
      const { idLo, idHi } = request;
      // Bodies of requests and credits of replies go to the publisher.
      if (isReply(frame) === (type === FrameType.credit)) {
        if (from === link && idLo === frame.idLo && idHi === frame.idHi)
          target.send({ type, flags, status, value, header, body, idLo: Number(id) });
      } else if (from === target && Number(id) === frame.idLo) {
        link.send({ type, flags, status, value, header, body, idLo, idHi });
        if (type === FrameType.chunk && !hasMore(frame)) this.#routed.delete(id);
      }
    }
  }

  #serve(link: FakeAgentLink, request: Frame): void {
    const header = decodeHeader(request.header);
    if (header.service !== 'ringside.agent') return this.onRequest(link, request, header);
    const body = request.body.toString();
    const { service } = JSON.parse(body) as { service: string };
    this.calls.push(`${header.method} ${service}`);
    if (header.method === 'publish' && this.refusePublish !== undefined) {
      const { status, text } = this.refusePublish;
      return link.reply(request, { status, header: encodeHeader({ statusMessage: text }) });
    }
    if (header.method === 'publish') this.publications.push({ link, service, body });
    else {
      const at = this.publications.findIndex((entry) => entry.link === link && entry.service === service);
      if (at >= 0) this.publications.splice(at, 1);
      if (!this.answersUnpublish) return;
    }
    link.reply(request, { body: Buffer.from('{}') });
  }
}
