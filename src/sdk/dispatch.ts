// Takes requests from links to handlers and their answers back. One dispatcher per server, for all its links.
// What must stay true: every request is answered exactly once (one-ways never), its state is gone at its deadline
// even if the handler never returns, and NOT_RUN is said by refusals that came before the handler, and never after it
// has begun.
import { Buffer } from 'node:buffer';
import { MeshError, errorText } from '../base/errors.js';
import { Status } from '../base/status.js';
import { FrameType } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { decodeHeader, encodeHeader } from '../protocol/header.js';
import type { Header } from '../protocol/header.js';
import { hasMore } from '../protocol/stream-frame.js';
import { runInCall } from './call-context.js';
import { CallerShares } from './caller-shares.js';
import { DeadlineQueue } from './deadlines.js';
import { InboundCall } from './inbound-call.js';
import type { Link } from './link.js';
import type { Handler, HandlerResult, Log } from './types.js';

export interface DispatcherOptions {
  maxConcurrentRequests: number;
  /** Whether each link is a caller of its own, as in direct mode; else callers are told apart by the name of their application. */
  callersByLink: boolean;
  defaultTimeoutMs: number;
  log: Log;
}

type Methods = Handler | ReadonlyMap<string, Handler>;

const noHeader = encodeHeader({});
const noBody = Buffer.alloc(0);

/** Routes requests to the handlers of the services of one process. */
export class Dispatcher {
  readonly #services = new Map<string, Methods>();
  readonly #deadlines = new DeadlineQueue<InboundCall>((call) => this.#expire(call));
  readonly #idleWaiters: (() => void)[] = [];
  readonly #shares: CallerShares;
  #running = 0;

  constructor(readonly options: DispatcherOptions) {
    this.#shares = new CallerShares(options.maxConcurrentRequests, options.callersByLink);
  }

  /** Requests that run now or are still arriving. */
  get running(): number {
    return this.#running;
  }

  /** Serves `service` from now on. */
  add(service: string, methods: Record<string, Handler> | Handler): void {
    if (typeof methods === 'function') {
      this.#services.set(service, methods);
      return;
    }
    this.#services.set(service, new Map(Object.entries(methods)));
  }

  /** Resolves as soon as no request runs, at the latest after `timeoutMs`; answers how many still run. */
  idle(timeoutMs: number): Promise<number> {
    if (this.#running === 0) return Promise.resolve(0);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resolve(this.#running);
      };
      const timer = setTimeout(done, timeoutMs);
      this.#idleWaiters.push(done);
    });
  }

  /** A request or one-way frame came. */
  onRequest(link: Link, frame: Frame): void {
    const problem = this.#start(link, frame);
    if (problem === undefined) return;
    if (frame.type === FrameType.oneWay) {
      this.options.log('debug', `one-way refused: ${problem.message}`, { status: problem.status });
    } else link.replies.respondError(frame.idLo, frame.idHi, problem);
  }

  /** The caller gave up, or its deadline passed: the handler is told which, and whatever it answers is dropped. */
  onCancel(link: Link, idLo: number, idHi: number, status: number): void {
    const call = link.inbound.find(idLo, idHi);
    if (call !== undefined) this.#end(call, whyCancelled(status));
  }

  /** The link is lost: nobody can be answered on it any more. */
  onClosed(link: Link, reason: string): void {
    for (const call of link.inbound.all())
      this.#end(call, new MeshError('CANCELLED', `the link is lost: ${reason}`));
  }

  /** Starts the handler; answers why not. */
  #start(link: Link, frame: Frame): MeshError | undefined {
    let header: Header;
    try {
      header = decodeHeader(frame.bytes, frame.headerStart, frame.headerEnd);
    } catch (error) {
      return notRun('INVALID_ARGUMENT', `malformed header: ${errorText(error)}`);
    }
    const { service, method } = header;
    if (service === '') return notRun('INVALID_ARGUMENT', 'the request names no service');
    if (hasMore(frame) && frame.type === FrameType.oneWay)
      return notRun('INVALID_ARGUMENT', 'one-way requests are not streamed');
    const methods = this.#services.get(service);
    if (methods === undefined) return notRun('UNAVAILABLE', `service ${service} is not served here`);
    const handler = typeof methods === 'function' ? methods : methods.get(method);
    if (handler === undefined) return notRun('UNIMPLEMENTED', `service ${service} has no method ${method}`);
    const bound = this.options.maxConcurrentRequests;
    if (this.#running >= bound) {
      return notRun('RESOURCE_EXHAUSTED', `${bound} requests run at once (maxConcurrentRequests)`);
    }
    const timeoutMs = frame.timeoutMs > 0 ? frame.timeoutMs : this.options.defaultTimeoutMs;
    const call = new InboundCall(link, frame, header, performance.now() + timeoutMs);
    if (!this.#shares.admit(call, this.#running)) {
      const text = `this caller's requests run as often at once as its share of ${bound} allows (maxConcurrentRequests)`;
      return notRun('RESOURCE_EXHAUSTED', text);
    }
    link.inbound.add(call);
    this.#running += 1;
    this.#deadlines.add(call);
    if (hasMore(frame)) return this.#receive(call, frame, handler);
    this.#run(call, handler);
    return undefined;
  }

  /** Puts the body together before the handler starts; answers why not. */
  #receive(call: InboundCall, frame: Frame, handler: Handler): MeshError | undefined {
    const sink = {
      onBody: (body: Buffer) => {
        call.body = body;
        call.receiving = undefined;
        this.#run(call, handler);
      },
      onBroken: (error: MeshError) => this.#fail(call, error),
    };
    const sender = this.options.callersByLink ? undefined : call.sourceApp;
    const begun = call.link.incoming.begin(frame, false, sink, sender);
    if (begun instanceof MeshError) {
      this.#free(call);
      this.#freed(call);
      return begun;
    }
    call.receiving = begun;
    call.body = noBody;
    return undefined;
  }

  #run(call: InboundCall, handler: Handler): void {
    let result: ReturnType<Handler>;
    try {
      result = runInCall(call, handler);
      if (isThenable(result)) {
        result.then(
          (value) => this.#answer(call, value),
          (error: unknown) => this.#fail(call, handlerFailure(error)),
        );
        return;
      }
    } catch (error) {
      this.#fail(call, handlerFailure(error));
      return;
    }
    this.#answer(call, result);
  }

  #answer(call: InboundCall, result: HandlerResult): void {
    if (call.ended) return;
    let header = noHeader;
    let body: Uint8Array | string = '';
    try {
      if (typeof result === 'string' || result instanceof Uint8Array) body = result;
      else if (result !== undefined) {
        if (typeof result !== 'object' || result === null)
          throw new TypeError(`a handler answered a ${typeof result}`);
        body = result.body ?? '';
        if (result.attachments !== undefined) header = encodeHeader({ attachments: result.attachments });
      }
      if (typeof body !== 'string' && !(body instanceof Uint8Array))
        throw new TypeError('a handler answered no body');
    } catch (error) {
      this.#fail(call, new MeshError('INTERNAL', errorText(error), { cause: error }));
      return;
    }
    this.#free(call);
    const { link, idLo, idHi, deadlineMs } = call;
    if (!call.oneWay) link.replies.respond(idLo, idHi, Status.OK, 0, header, body, deadlineMs);
    this.#freed(call);
  }

  #fail(call: InboundCall, error: MeshError): void {
    if (call.ended) return;
    this.#free(call);
    if (call.oneWay) {
      this.options.log('warn', `one-way failed: ${error.message}`, {
        service: call.service,
        method: call.method,
      });
    } else call.link.replies.respondError(call.idLo, call.idHi, error);
    this.#freed(call);
  }

  #expire(call: InboundCall): void {
    const arrived = call.receiving === undefined;
    const text = arrived ? 'the handler did not answer' : 'the request did not arrive whole';
    const error = new MeshError('DEADLINE_EXCEEDED', `${text} before the deadline`, { mayHaveRun: arrived });
    this.#end(call, error);
    if (!call.oneWay) call.link.replies.respondError(call.idLo, call.idHi, error);
  }

  /** Ends a call that nobody waits for any more; its handler is told why. */
  #end(call: InboundCall, abortReason: MeshError): void {
    this.#free(call);
    call.abort(abortReason);
    this.#freed(call);
  }

  /** Frees the call's state. */
  #free(call: InboundCall): void {
    call.ended = true;
    this.#deadlines.remove(call);
    call.link.inbound.remove(call);
    this.#shares.end(call);
    if (call.receiving !== undefined) call.link.incoming.drop(call.receiving);
    this.#running -= 1;
  }

  /** Wakes who waits for the end of calls: to be called behind the answer, which they must not overtake. */
  #freed(call: InboundCall): void {
    call.link.inboundEnded();
    if (this.#running === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}

function isThenable(value: unknown): value is PromiseLike<HandlerResult> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * What the caller is told of a handler's failure. Of an error that came from a call of the handler's own only status and
 * text go on: its proof is about that call, and this request has run.
 */
function handlerFailure(thrown: unknown): MeshError {
  if (!(thrown instanceof MeshError)) return new MeshError('UNKNOWN', errorText(thrown));
  return thrown.mayHaveRun ? thrown : new MeshError(thrown.status, thrown.message, { cause: thrown });
}

function whyCancelled(status: number): MeshError {
  return status === Status.DEADLINE_EXCEEDED
    ? new MeshError('DEADLINE_EXCEEDED', "the caller's deadline passed")
    : new MeshError('CANCELLED', 'the caller gave up');
}

function notRun(
  status: 'INVALID_ARGUMENT' | 'UNIMPLEMENTED' | 'UNAVAILABLE' | 'RESOURCE_EXHAUSTED',
  text: string,
): MeshError {
  return new MeshError(status, text, { mayHaveRun: false });
}
