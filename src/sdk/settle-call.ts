// Turns the response frame of a pending call into what its caller sees. The usual reply has no header, and then
// nothing is decoded.
import { MeshError, errorText } from '../base/errors.js';
import { Flag } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { decodeHeader } from '../protocol/header.js';
import type { PendingCall } from './pending-calls.js';

/** Resolves or rejects a call that is no longer pending. */
export function settleCall(call: PendingCall, frame: Frame): void {
  if (frame.status === 0 && frame.headerStart === frame.headerEnd && (frame.flags & Flag.more) === 0) {
    call.resolve({ body: frame.body, attachments: undefined });
    return;
  }
  try {
    const header = decodeHeader(frame.bytes, frame.headerStart, frame.headerEnd);
    if (frame.status !== 0) {
      const text = header.statusMessage || 'the other side gave no text';
      call.reject(new MeshError(frame.status, text, { mayHaveRun: (frame.flags & Flag.notRun) === 0 }));
    } else if ((frame.flags & Flag.more) !== 0) {
      call.reject(new MeshError('UNIMPLEMENTED', 'the reply is a stream, which this version cannot read'));
    } else {
      call.resolve({ body: frame.body, attachments: header.attachments });
    }
  } catch (error) {
    const text = `malformed header in the reply: ${errorText(error)}`;
    call.reject(new MeshError('INTERNAL', text, { cause: error }));
  }
}
