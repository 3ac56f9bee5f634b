// How many lines of a log others may cause: so many of each kind a second, and then one that says how many were left out. Used wherever a connection,
// a request or a service of somebody else makes the agent, the ops agent or an application write a line.
import { TokenBucket } from '../policy/token-bucket.js';

const linesPerSecond = 20;
/** How long lines that were left out are counted until that is told. */
const tellAfterMs = 1_000;

interface Kind {
  readonly bucket: TokenBucket;
  leftOut: number;
}

/** See the file's head. */
export class LineBound {
  readonly #kinds = new Map<string, Kind>();

  /** @param onLeftOut called a while after lines of a kind were left out, with their number */
  constructor(private readonly onLeftOut: (kind: string, leftOut: number) => void) {}

  /**
   * Whether a line may be written now; else it is counted.
   * @param kind a text of the caller's own, of which there are few
   */
  admit(kind: string): boolean {
    const nowMs = performance.now();
    let found = this.#kinds.get(kind);
    if (found === undefined) {
      found = { bucket: new TokenBucket(linesPerSecond, linesPerSecond, nowMs), leftOut: 0 };
      this.#kinds.set(kind, found);
    }
    if (found.bucket.take(nowMs)) return true;
    if (found.leftOut++ === 0) setTimeout(() => this.#tell(kind), tellAfterMs).unref();
    return false;
  }

  /** Tells at once what was left out so far: before the end. */
  tell(): void {
    for (const kind of this.#kinds.keys()) this.#tell(kind);
  }

  #tell(kind: string): void {
    const found = this.#kinds.get(kind);
    if (found === undefined || found.leftOut === 0) return;
    const { leftOut } = found;
    found.leftOut = 0;
    this.onLeftOut(kind, leftOut);
  }
}
