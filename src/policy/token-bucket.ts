/**
 * A token bucket: lets through `perSecond` takes on average and `burst` at once. The caller brings the time, which
 * must come from a monotonic clock; a time that goes back adds nothing and breaks nothing.
 */
export class TokenBucket {
  #tokens: number;
  #filledMs: number;

  /**
   * @param perSecond tokens that arrive per second
   * @param burst tokens it holds at most, and at the start
   */
  constructor(
    readonly perSecond: number,
    readonly burst: number,
    nowMs: number,
  ) {
    this.#tokens = burst;
    this.#filledMs = nowMs;
  }

  /** Takes tokens if there are enough; else takes none and returns false. */
  take(nowMs: number, tokens = 1): boolean {
    const elapsedMs = Math.max(0, nowMs - this.#filledMs);
    this.#tokens = Math.min(this.burst, this.#tokens + (elapsedMs * this.perSecond) / 1000);
    this.#filledMs = Math.max(this.#filledMs, nowMs);
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }
}
