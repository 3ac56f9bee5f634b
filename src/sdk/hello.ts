// The opening frames: what an SDK says first, and how a direct-mode server answers. Kept apart from links so that
// all three transports say the same.
import { sameSecret } from '../base/secret.js';
import { basename } from 'node:path';
import { buildInfo } from '../base/build-info.js';
import { MeshError, errorText } from '../base/errors.js';
import { Status, statusName } from '../base/status.js';
import { Flag, FrameType, encodeFrame } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { decodeHeader, encodeHeader } from '../protocol/header.js';

/** Name of this application when nobody gave one. */
export function defaultAppName(env: NodeJS.ProcessEnv = process.env): string {
  return env['RINGSIDE_APP'] || basename(process.argv[1] ?? 'node');
}

/** The hello frame; `ringBytes` is 0 for frames on the socket. */
export function encodeHello(app: string, ringBytes: number, token: string | undefined): Buffer {
  const header = encodeHeader({
    sourceApp: app,
    attachments: { sdk: `ringside-node/${buildInfo().version}`, pid: String(process.pid) },
  });
  return encodeFrame({
    type: FrameType.hello,
    flags: token === undefined ? 0 : Flag.token,
    value: ringBytes,
    header,
    ...(token === undefined ? {} : { body: Buffer.from(token) }),
  });
}

/** What an accepting welcome said. */
export interface Welcome {
  /** Capacity of the rings granted; 0 is frames on the socket. */
  value: number;
  statusMessage: string;
}

/** Reads the first frame of the accepting side. Throws with the reason if it is no welcome, or a refusal. */
export function readWelcome(frame: Frame): Welcome {
  if (frame.type !== FrameType.welcome) throw new Error('protocol error: the first frame is not welcome');
  let statusMessage: string;
  try {
    ({ statusMessage } = decodeHeader(frame.bytes, frame.headerStart, frame.headerEnd));
  } catch (error) {
    throw new Error(`protocol error: ${errorText(error)}`, { cause: error });
  }
  if (frame.status === Status.OK) return { value: frame.value, statusMessage };
  const text = `refused by the agent: ${statusMessage || statusName(frame.status)}`;
  throw new MeshError(frame.status, text, { mayHaveRun: false });
}

/** A direct-mode server's answer: accepted, unless it asks for a token that the hello does not bear. */
export function answerHello(hello: Frame, token: string | undefined): { status: number; welcome: Buffer } {
  const given = (hello.flags & Flag.token) === 0 ? undefined : hello.body;
  if (token === undefined || (given !== undefined && sameSecret(given, token))) {
    return { status: Status.OK, welcome: encodeFrame({ type: FrameType.welcome }) };
  }
  const header = encodeHeader({ statusMessage: 'a valid access token is needed' });
  const status = Status.UNAUTHENTICATED;
  return { status, welcome: encodeFrame({ type: FrameType.welcome, status, header }) };
}
