// What a link asks its peer besides calls: pings that keep a TCP link honest, a ping that proves that all before it
// was read, and go-away. Owned by a link, which lends it the sending of control frames.
import { FrameType } from '../protocol/frame.js';

const maxUnansweredPings = 3;

/** Questions of one link that await an answer, and its keep-alive. */
export class LinkPulse {
  readonly #waiting = new Map<number, (answered: boolean) => void>();
  #nextId = 1;
  #heard = false;
  #unansweredPings = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param send writes a frame without header and body
   * @param silent the peer has not answered three pings
   */
  constructor(
    readonly send: (type: number, id: number) => void,
    readonly silent: (reason: string) => void,
  ) {}

  /** Bytes came from the peer. */
  heard(): void {
    this.#heard = true;
  }

  /** Pings after each interval without a byte from the peer. */
  keepAlive(intervalMs: number): void {
    this.#timer = setInterval(() => this.#check(), intervalMs).unref();
  }

  /** Sends a ping or go-away and answers whether its answer came in time. */
  ask(type: typeof FrameType.ping | typeof FrameType.goAway, timeoutMs: number): Promise<boolean> {
    const id = this.#nextId;
    this.#nextId = id >= 0xffffffff ? 1 : id + 1;
    return new Promise((resolve) => {
      const timer = setTimeout(() => answered(false), timeoutMs);
      const answered = (yes: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(yes);
      };
      this.#waiting.set(id, answered);
      this.send(type, id);
    });
  }

  /** A pong or go-away-ack came; unknown ids are ignored. */
  answered(idLo: number, idHi: number): void {
    if (idHi === 0) this.#waiting.get(idLo)?.(true);
  }

  /** The link is closed: nothing will be answered. */
  end(): void {
    clearInterval(this.#timer);
    for (const answered of [...this.#waiting.values()]) answered(false);
  }

  #check(): void {
    if (this.#heard) {
      this.#heard = false;
      this.#unansweredPings = 0;
    } else if (this.#unansweredPings >= maxUnansweredPings) {
      this.silent(`${maxUnansweredPings} pings were not answered`);
    } else {
      this.#unansweredPings += 1;
      this.send(FrameType.ping, 0);
    }
  }
}
