// The agent's own service, `ringside.agent`: what its apps ask of the agent itself (docs/wire-format.md). Bodies are JSON from an app that may be
// hostile, so they are checked like any other input.
import { Buffer } from 'node:buffer';
import { z } from 'zod';
import { MeshError, errorText } from '../base/errors.js';
import { Gate } from '../base/gate.js';
import { Status } from '../base/status.js';
import type { Verdict } from '../native/engine-commands.js';
import { emptyHeader, encodeHeader } from '../protocol/header.js';
import { whyNoName } from '../protocol/name.js';
import type { Inbound } from './inbound.js';

const name = z
  .string()
  .refine(
    (text) => whyNoName(text) === undefined,
    'at most 256 bytes of well-formed Unicode, no control characters',
  );
const offer = z.object({
  service: name
    .refine((text) => text.length > 0, 'must not be empty')
    .refine((text) => text !== 'ringside.agent', 'is the name of the agent itself'),
  group: name.default(''),
  version: name.default(''),
  weight: z.int().min(0).max(1_000_000).default(100),
});

/** Answers control requests. */
export class Control {
  readonly #gate = new Gate();

  /** @param serves false: this agent's applications may fall back to others, so they serve nothing */
  constructor(
    private readonly inbound: Inbound,
    private readonly serves = true,
  ) {}

  /** The answer to one request of the app behind `link`; never rejects. */
  answer(link: number, method: string, body: Buffer): Promise<Verdict> {
    return this.#gate.pass(() => this.#answer(link, method, body));
  }

  /** Lets requests that come from now on wait until resume(); resolves when those under way are answered. */
  pause(): Promise<void> {
    return this.#gate.close();
  }

  resume(): void {
    this.#gate.open();
  }

  async #answer(link: number, method: string, body: Buffer): Promise<Verdict> {
    try {
      return reply(await this.#run(link, method, body));
    } catch (error) {
      const known = error instanceof MeshError ? error : new MeshError('INTERNAL', errorText(error));
      return { kind: 'answer', code: known.code, header: statusHeader(known.message) };
    }
  }

  async #run(link: number, method: string, body: Buffer): Promise<object> {
    switch (method) {
      case 'publish':
        if (!this.serves) {
          throw new MeshError(
            'FAILED_PRECONDITION',
            'applications of this agent serve nothing, since they may use other agents while it is down: set egressFallback.force to allow both',
            { mayHaveRun: false },
          );
        }
        return { instance: await this.inbound.publish({ link }, parse(offer, body)) };
      case 'unpublish':
        await this.inbound.unpublish({ link }, parse(offer, body));
        return {};
      default:
        throw new MeshError(
          'UNIMPLEMENTED',
          `ringside.agent has no method "${method}": publish or unpublish`,
          {
            mayHaveRun: false,
          },
        );
    }
  }
}

function reply(value: object): Verdict {
  return { kind: 'answer', code: Status.OK, body: Buffer.from(JSON.stringify(value)) };
}

/** The header of an answer that is a failure. */
export function statusHeader(text: string): Buffer {
  return encodeHeader({ ...emptyHeader(), statusMessage: text.slice(0, 1024) });
}

function parse<T>(schema: z.ZodType<T>, body: Buffer): T {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `the body is not JSON: ${errorText(cause)}`, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'is malformed'}`,
  );
}
