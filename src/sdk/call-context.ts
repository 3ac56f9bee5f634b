// What a call made inside a handler inherits from the request being served: its deadline and its trace. Carried by
// AsyncLocalStorage, which costs nothing in processes that never serve.
import { AsyncLocalStorage } from 'node:async_hooks';

/** The part of a request that calls made on its behalf inherit. */
export interface CallContext {
  /** On the clock of performance.now(). */
  readonly deadlineMs: number;
  readonly traceparent: string;
  readonly tracestate: string;
}

const storage = new AsyncLocalStorage<CallContext>();

/** The request being served by the caller, if it is inside a handler. */
export function currentCall(): CallContext | undefined {
  return storage.getStore();
}

/** Runs `serve` so that it, and all it starts, sees `context` as the current call. */
export function runInCall<T extends CallContext, R>(context: T, serve: (context: T) => R): R {
  return storage.run(context, serve, context);
}
