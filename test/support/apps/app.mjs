// The application of the end-to-end tests: a real process with the built SDK that does what the test orders over Node's
// channel (test/support/app-process.ts is the other end). It serves a fixed set of methods, makes calls and keeps load
// on a service; it records what ran, so that tests can hold every claim about that against the truth.
import { createHash, randomBytes } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

// A test may have another copy of the package.
const { MeshError, connect, serve } = await import(process.env.TEST_SDK ?? '../../../dist/index.js');

const name = process.argv[2] ?? 'app';
const clients = new Map();
const servers = new Map();
const aborts = new Map();
const loads = new Map();
const exchanges = new Map();
/** Takes the id of each `record` request before anything else happens; a file, so that it outlives this process. */
const ranLog = process.env.TEST_RAN_LOG === undefined ? undefined : openSync(process.env.TEST_RAN_LOG, 'a');
const held = [];

function tell(event, fields = {}) {
  if (process.connected) process.send({ event, ...fields });
}

function sha256Of(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

function seen(request) {
  const { service, method, group, version, sourceApp, contentType, hashKey, traceparent, tracestate } =
    request;
  return {
    ...{ service, method, group, version, sourceApp, contentType, hashKey, traceparent, tracestate },
    attachments: { ...request.attachments },
    oneWay: request.oneWay,
    attempt: request.attempt,
    timeoutMs: request.timeoutMs,
    servedBy: name,
  };
}

const methods = {
  echo: (request) => request.body,
  who: () => name,
  /** Answers, when the test says so, with the request's body and the sum that it has here. */
  'echo-summed': ({ body }) => {
    const reply = { body, attachments: { sha256: sha256Of(body) } };
    tell('summed');
    return new Promise((resolve) => held.push(() => resolve(reply)));
  },
  info: (request) => ({ body: JSON.stringify(seen(request)), attachments: { 'served-by': name } }),
  note: (request) => tell('note', { ...seen(request), body: request.body.toString() }),
  'fail-mesh': () => {
    throw new MeshError('NOT_FOUND', 'no such thing: zürich');
  },
  'fail-error': async () => {
    throw new Error('boom');
  },
  'answer-of': (request) => Buffer.alloc(Number(request.body), 'x'),
  /** Never answers; tells when it began and when it was told to stop. */
  never: (request) => {
    tell('started', { body: request.body.toString() });
    request.signal.addEventListener('abort', () =>
      tell('aborted', { body: request.body.toString(), reason: String(request.signal.reason?.status) }),
    );
    return new Promise(() => undefined);
  },
  /** Answers when the test says so. */
  held: (request) => {
    tell('held', { body: request.body.toString() });
    return new Promise((resolve) => held.push(() => resolve(`${name} let go of ${request.body}`)));
  },
  /** Asks `who` of the service that the attachment `next` names, when the test says so. */
  'held-relay': (request) => {
    tell('held', { body: request.body.toString() });
    return new Promise((resolve) => held.push(resolve)).then(async () => {
      const reply = await servers.get('main').client.call(request.attachments.next, 'who', '');
      return `${name} asked ${reply.body}`;
    });
  },
  record: async (request) => {
    writeSync(ranLog, `${request.body}\n`);
    const workMs = Number(request.attachments?.['work-ms'] ?? 0);
    if (workMs > 0) await pause(workMs);
    return name;
  },
  /** Does what the plan in its body says: notes that it ran, makes calls and tells what came of them, and ends as it is told. */
  plan: async (request) => {
    const { id, calls, end } = JSON.parse(request.body.toString());
    writeSync(ranLog, `${id}\n`);
    let failed = new MeshError('ABORTED', 'none of its calls has failed');
    for (const call of calls) failed = (await follow(servers.get('main').client, call)) ?? failed;
    switch (end) {
      case 'pass on':
        throw failed;
      case 'wrap':
        throw new MeshError(failed.status, failed.message, { cause: failed, mayHaveRun: failed.mayHaveRun });
      case 'claim':
        throw new MeshError('UNAVAILABLE', 'it says that it has not run', { mayHaveRun: false });
      case 'nonsense':
        return 7;
      case 'long':
        return Buffer.alloc(300_000);
      case 'never':
        return new Promise(() => undefined);
      case 'die':
        process.kill(process.pid, 'SIGKILL');
        return new Promise(() => undefined);
      default:
        return name;
    }
  },
  /** Calls the next service named in the attachment `way`, separated by commas; the last one is asked for `info`. */
  relay: async (request) => {
    const [next, ...rest] = request.attachments.way.split(',');
    const server = servers.get('main');
    const reply = await server.client.call(next, rest.length === 0 ? 'info' : 'relay', request.body, {
      timeoutMs: 60_000,
      attachments: rest.length === 0 ? {} : { way: rest.join(',') },
    });
    return reply.body;
  },
};

/** Makes one call of a plan; tells what came of it, and answers its error. */
async function follow(client, { service, method, plan, bytes, timeoutMs, cancelAfterMs, attachments }) {
  const body = JSON.stringify(service === 'old' ? [plan] : plan).padEnd(bytes);
  const signal = cancelAfterMs === null ? {} : { signal: AbortSignal.timeout(cancelAfterMs) };
  try {
    await client.call(service, method, body, { timeoutMs, attachments, ...signal });
    tell('outcome', { id: plan.id });
    return undefined;
  } catch (error) {
    tell('outcome', { id: plan.id, failed: failure(error) });
    return error;
  }
}

function failure(error) {
  if (!(error instanceof MeshError))
    return { status: 'NOT A MESH ERROR', message: String(error?.stack ?? error) };
  const { status, code, message, retryable, mayHaveRun } = error;
  return { status, code, message, retryable, mayHaveRun };
}

/** The machine's monotonic clock, which all processes share. */
function nowUs() {
  return Number(process.hrtime.bigint() / 1000n);
}

class Load {
  constructor(client, options) {
    Object.assign(this, { client, options });
    this.summary = { sent: 0, ok: 0, failures: [], by: {}, wrong: 0, slowestUs: 0 };
    if (options.times) this.summary.timesUs = [];
    this.stopped = false;
    this.waiters = [];
    this.done = Promise.all(Array.from({ length: options.inFlight }, () => this.work()));
  }
  async work() {
    const {
      service,
      services = [service],
      method,
      total = Infinity,
      callOptions = {},
      prefix,
      bodyBytes = 0,
      bodySizes = [bodyBytes],
      failurePauseMs = 1,
      pauseMs = 0,
      oneWay = false,
      cancelAfterMs,
    } = this.options;
    const { summary } = this;
    while (!this.stopped && summary.sent < total) {
      const bytes = bodySizes[summary.sent % bodySizes.length];
      const id = `${prefix}${summary.sent++}`;
      const body = id.padEnd(bytes, '.');
      const sentUs = nowUs();
      try {
        const service = services[summary.sent % services.length];
        if (oneWay) await this.client.send(service, method, body, callOptions);
        else if (cancelAfterMs !== undefined) await this.cancelled(service, method, body);
        if (oneWay || cancelAfterMs !== undefined) {
          summary.ok += 1;
          await pause(pauseMs);
          continue;
        }
        const reply = await this.client.call(service, method, body, callOptions);
        const text = reply.body.toString();
        if (method === 'echo') summary.wrong += text === body ? 0 : 1;
        else summary.by[text] = (summary.by[text] ?? 0) + 1;
        summary.ok += 1;
        const endedUs = nowUs();
        summary.slowestUs = Math.max(summary.slowestUs, endedUs - sentUs);
        summary.timesUs?.push(endedUs);
        for (const waiter of this.waiters.splice(0)) waiter();
        if (pauseMs > 0) await pause(pauseMs);
      } catch (error) {
        summary.failures.push({ id, sentUs, endedUs: nowUs(), ...failure(error) });
        // Failures come without a wait; a client in trouble must leave its process room to get out of it.
        await pause(failurePauseMs);
      }
    }
  }
  /** A call that is given up half-way; whoever answers it all the same was quick. */
  async cancelled(service, method, body) {
    const { callOptions = {}, cancelAfterMs } = this.options;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new Error('the load gave up')), cancelAfterMs);
    try {
      await this.client.call(service, method, body, { ...callOptions, signal: controller.signal });
    } catch (error) {
      if (error?.status !== 'CANCELLED') throw error;
    } finally {
      clearTimeout(timer);
    }
  }
  async reached(ok) {
    while (this.summary.ok < ok) await new Promise((resolve) => this.waiters.push(resolve));
    return this.summary.ok;
  }
}

let drowseMs = 0;
const nothing = new Int32Array(new SharedArrayBuffer(4));
/** Lets the event loop do one turn, then stands still again. */
function drowse() {
  if (drowseMs === 0) return;
  Atomics.wait(nothing, 0, 0, drowseMs);
  setImmediate(drowse);
}

const orders = {
  async connect({ key = 'main', options }) {
    const client = await connect({ app: name, ...options });
    client.on('transport', (transport) => tell('transport', { key, transport }));
    clients.set(key, client);
    return client.transport;
  },
  async serve({ key = 'main', options }) {
    const server = await serve({ app: name, methods: options.anyMethod ? methods.who : methods, ...options });
    server.on('transport', (transport) => tell('transport', { key, transport }));
    servers.set(key, server);
    return { transport: server.transport, address: server.address };
  },
  async call({ key = 'main', service, method, body, options = {}, abortKey }) {
    const client = clients.get(key) ?? servers.get(key).client;
    let signal;
    if (abortKey !== undefined) {
      const controller = new AbortController();
      aborts.set(abortKey, controller);
      ({ signal } = controller);
    }
    try {
      const reply = await client.call(service, method, body, signal ? { ...options, signal } : options);
      return { reply: { body: reply.body, attachments: { ...reply.attachments } } };
    } catch (error) {
      return { failure: failure(error) };
    } finally {
      aborts.delete(abortKey);
    }
  },
  /** Sends random bytes to `echo-summed`. */
  startExchange({ key = 'main', service, bytes, options = {} }) {
    const body = randomBytes(bytes);
    const exchange = { sent: sha256Of(body) };
    exchanges.set(service, exchange);
    clients
      .get(key)
      .call(service, 'echo-summed', body, options)
      .then(
        (reply) =>
          Object.assign(exchange, { arrived: reply.attachments.sha256, cameBack: sha256Of(reply.body) }),
        (error) => Object.assign(exchange, { failed: failure(error) }),
      );
  },
  exchange: ({ service }) => exchanges.get(service),
  async follow({ key = 'main', call }) {
    await follow(clients.get(key), call);
  },
  async send({ key = 'main', service, method, body, options = {} }) {
    await clients.get(key).send(service, method, body, options);
  },
  abort({ abortKey }) {
    aborts.get(abortKey).abort(new Error('the test gave up'));
  },
  startLoad({ key = 'main', load }) {
    loads.set(load.prefix, new Load(clients.get(key), load));
  },
  reached: ({ prefix, ok }) => loads.get(prefix).reached(ok),
  /** Ends a load (with `now` at once, else after its total) and answers what came of it. */
  async endLoad({ prefix, now }) {
    const load = loads.get(prefix);
    if (now) load.stopped = true;
    await load.done;
    return load.summary;
  },
  loadSoFar: ({ prefix }) => loads.get(prefix).summary,
  letGo() {
    for (const go of held.splice(0)) go();
  },
  /** Holds the main thread, as a long computation of an application would. */
  spin({ ms }) {
    tell('spinning');
    const endMs = performance.now() + ms;
    while (performance.now() < endMs);
  },
  /** From now on does little: after each turn of its event loop the main thread stands still for so long. 0 ends that. */
  drowse({ ms }) {
    const begins = drowseMs === 0;
    drowseMs = ms;
    if (begins) drowse();
  },
  /** Answers how many bytes of the heap are in use when nothing is garbage. */
  collectedHeapBytes() {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc');
    collect();
    // Ends what the first one left to other threads, such as giving buffers back.
    collect();
    return process.memoryUsage().heapUsed;
  },
  transport: ({ key = 'main' }) => (clients.get(key) ?? servers.get(key)).transport,
  closeClient: ({ key = 'main' }) => clients.get(key).close(),
  closeServer: ({ key = 'main' }) => servers.get(key).close(),
};

process.on('message', async ({ order, id, ...args }) => {
  try {
    const answer = await orders[order](args);
    if (process.connected) process.send({ id, answer });
  } catch (error) {
    if (process.connected) process.send({ id, failed: failure(error) });
  }
});

async function leave() {
  for (const load of loads.values()) load.stopped = true;
  await Promise.all([...servers.values(), ...clients.values()].map((end) => end.close()));
  if (process.connected) process.disconnect();
}
process.once('SIGTERM', () => void leave());
// The test is gone: nothing of it may stay.
process.once('disconnect', () => setTimeout(() => process.exit(3), 5_000).unref());
tell('up');
