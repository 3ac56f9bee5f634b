// Turns the response frame of a pending call into what its caller sees. The usual reply has no header, and then
// nothing is decoded.
import { MeshError, errorText } from '../base/errors.js';
import { Flag, FrameType } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { decodeHeader } from '../protocol/header.js';
import type { Attachments } from '../protocol/header.js';
import type { PendingCall } from './pending-calls.js';

/** The failure that a response, or the last chunk of one, states with a status other than 0. */
export function replyFailure(frame: Frame): MeshError {
  try {
    const { statusMessage } = decodeHeader(frame.bytes, frame.headerStart, frame.headerEnd);
    const text = statusMessage || 'the other side gave no text';
    return new MeshError(frame.status, text, { mayHaveRun: !provesNotRun(frame) });
  } catch (error) {
    return malformedReply(error);
  }
}

/** The attachments of a response. Throws a MeshError if its header is malformed. */
export function replyAttachments(frame: Frame): Attachments | undefined {
  if (frame.headerStart === frame.headerEnd) return undefined;
  try {
    return decodeHeader(frame.bytes, frame.headerStart, frame.headerEnd).attachments;
  } catch (error) {
    throw malformedReply(error);
  }
}

/** Resolves or rejects a call that is no longer pending with a response that is whole. */
export function settleCall(call: PendingCall, frame: Frame): void {
  if (frame.status !== 0) {
    call.reject(replyFailure(frame));
    return;
  }
  try {
    call.resolve({ body: frame.body, attachments: replyAttachments(frame) });
  } catch (error) {
    call.reject(error as MeshError);
  }
}

/** A reply that has begun to send its body comes from a request that ran, whatever its flags say. */
function provesNotRun({ type, flags }: Frame): boolean {
  return type === FrameType.response && (flags & (Flag.notRun | Flag.more)) === Flag.notRun;
}

function malformedReply(error: unknown): MeshError {
  const text = `malformed header in the reply: ${errorText(error)}`;
  return new MeshError('INTERNAL', text, { cause: error });
}
