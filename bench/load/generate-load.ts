// Sends calls by a plan and measures each: at a rate, on a schedule that does not wait for answers, or so that a number of
// them is always in flight. Knows nothing of protocols. What a call costs the measuring itself must stay small: no
// allocation but the promise's callbacks.
import { startPacer } from '../../dist/native/pacer.js';
import { Histogram } from '../measure/histogram.js';
import type { LoadPlan, LoadResult, TimeSlice } from './messages.js';

/** Sends one request; resolves with the size of the reply in bytes. */
export type Call = (body: Buffer) => Promise<number>;

const slicesPerRun = 40;
const shortestSliceMs = 100;

/** Runs one plan to its end, the last answer included. */
export async function generateLoad(call: Call, plan: LoadPlan): Promise<LoadResult> {
  const recorder = new Recorder(plan);
  const { pace } = plan;
  if ('ratePerSecond' in pace) await openLoop(call, plan, pace.ratePerSecond, recorder);
  else await closedLoop(call, plan, pace.inFlight, recorder);
  return recorder.result();
}

function openLoop(call: Call, plan: LoadPlan, ratePerSecond: number, recorder: Recorder): Promise<void> {
  const planned = Math.max(1, Math.round(ratePerSecond * plan.seconds));
  const body = Buffer.alloc(plan.bodyBytes, 'x');
  // performance.now() counts from another moment than the pacer's clock.
  const epochNs = Number(process.hrtime.bigint()) - performance.now() * 1e6;
  return new Promise((resolve) => {
    let sent = 0;
    let settled = 0;
    const settle = (): void => {
      if (++settled === planned) resolve();
    };
    const send = (intendedMs: number): void => {
      sent++;
      const sentMs = performance.now();
      recorder.sent(intendedMs, sentMs);
      call(body).then(
        (bytes) => {
          recorder.answered(intendedMs, sentMs, bytes);
          settle();
        },
        (error: unknown) => {
          recorder.failed(error);
          settle();
        },
      );
    };
    const pacer = startPacer(ratePerSecond, (count, intendedNs) => {
      for (let i = 0; i < count && sent < planned; i++) {
        send((intendedNs + i * pacer.intervalNs - epochNs) / 1e6);
      }
      if (sent >= planned) pacer.stop();
    });
  });
}

function closedLoop(call: Call, plan: LoadPlan, inFlight: number, recorder: Recorder): Promise<void> {
  const body = Buffer.alloc(plan.bodyBytes, 'x');
  const endMs = performance.now() + plan.seconds * 1000;
  return new Promise((resolve) => {
    let running = inFlight;
    const next = (): void => {
      const sentMs = performance.now();
      if (sentMs >= endMs) {
        if (--running === 0) resolve();
        return;
      }
      recorder.sent(sentMs, sentMs);
      call(body).then(
        (bytes) => {
          recorder.answered(sentMs, sentMs, bytes);
          next();
        },
        (error: unknown) => {
          recorder.failed(error);
          // Not at once: a path that refuses everything would spin here.
          setImmediate(next);
        },
      );
    };
    for (let i = 0; i < inFlight; i++) next();
  });
}

class Recorder {
  readonly #bodyBytes: number;
  readonly #open: boolean;
  readonly #fromSend = new Histogram();
  readonly #fromIntended = new Histogram();
  readonly #lateness = new Histogram();
  readonly #slice = new Histogram();
  readonly #sliceMs: number;
  readonly #slices: TimeSlice[] = [];
  #requests = 0;
  #errors = 0;
  #firstError: string | undefined;
  #startMs = Infinity;
  #sliceEndMs = Infinity;
  #lastMs = 0;

  constructor(plan: LoadPlan) {
    this.#bodyBytes = plan.bodyBytes;
    this.#open = 'ratePerSecond' in plan.pace;
    this.#sliceMs = Math.max(shortestSliceMs, (plan.seconds * 1000) / slicesPerRun);
  }

  sent(intendedMs: number, sentMs: number): void {
    if (this.#requests++ === 0) {
      this.#startMs = intendedMs;
      this.#sliceEndMs = intendedMs + this.#sliceMs;
    }
    if (this.#open) this.#lateness.record((sentMs - intendedMs) * 1000);
  }

  answered(intendedMs: number, sentMs: number, bytes: number): void {
    const nowMs = performance.now();
    if (bytes !== this.#bodyBytes) {
      this.failed(new Error(`an echo of ${this.#bodyBytes} bytes came back with ${bytes}`));
      return;
    }
    this.#lastMs = nowMs;
    this.#fromSend.record((nowMs - sentMs) * 1000);
    if (this.#open) this.#fromIntended.record((nowMs - intendedMs) * 1000);
    if (nowMs >= this.#sliceEndMs) this.#endSlice(nowMs);
    this.#slice.record((nowMs - intendedMs) * 1000);
  }

  failed(error: unknown): void {
    this.#lastMs = performance.now();
    this.#errors++;
    this.#firstError ??= error instanceof Error ? error.message : String(error);
  }

  result(): LoadResult {
    if (this.#slice.count > 0) this.#endSlice(this.#lastMs);
    return {
      requests: this.#requests,
      errors: this.#errors,
      ...(this.#firstError === undefined ? {} : { firstError: this.#firstError }),
      elapsedSeconds: (this.#lastMs - this.#startMs) / 1000,
      fromSend: this.#fromSend.data(),
      ...(this.#open ? { fromIntended: this.#fromIntended.data(), lateness: this.#lateness.data() } : {}),
      overTime: this.#slices,
    };
  }

  #endSlice(nowMs: number): void {
    if (this.#slice.count > 0) {
      this.#slices.push({
        atSeconds: (this.#sliceEndMs - this.#startMs) / 1000,
        p50Us: this.#slice.quantileUs(0.5),
        p99Us: this.#slice.quantileUs(0.99),
        maxUs: this.#slice.maxUs,
      });
    }
    this.#slice.clear();
    while (this.#sliceEndMs <= nowMs) this.#sliceEndMs += this.#sliceMs;
  }
}
