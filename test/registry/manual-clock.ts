/** A clock that stands still until a test moves it. The wall clock may be moved by itself, as an operator would. */
import type { Clock } from '../../src/registry/clock.js';

export class ManualClock implements Clock {
  monotonicId: string | null = 'the test’s';
  #wallMs = 1_700_000_000_000;
  #monotonicMs = 5_000;
  readonly #timers = new Map<symbol, { dueMs: number; callback: () => void }>();

  wallMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const key = Symbol();
    this.#timers.set(key, { dueMs: this.#monotonicMs + delayMs, callback });
    return () => this.#timers.delete(key);
  }

  /** Time passes, and timers fire in their order. */
  advance(ms: number): void {
    const endMs = this.#monotonicMs + ms;
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a[1].dueMs - b[1].dueMs)[0];
      if (!next || next[1].dueMs > endMs) break;
      this.#pass(Math.max(0, next[1].dueMs - this.#monotonicMs));
      this.#timers.delete(next[0]);
      next[1].callback();
    }
    this.#pass(endMs - this.#monotonicMs);
  }

  /** Time passes while this process does not run: no timer fires. */
  freeze(ms: number): void {
    this.#pass(ms);
  }

  /** Somebody sets the wall clock. */
  jump(ms: number): void {
    this.#wallMs += ms;
  }

  #pass(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
}
