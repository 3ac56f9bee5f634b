// Changes an encoded header without losing what this version does not know. Scalars are appended (the last one
// wins); attachments are cut out and written anew, because nothing in protobuf can delete by appending. Every
// patch first checks the header it is given and afterwards holds the limits.
import { Buffer } from 'node:buffer';
import {
  attachmentsBytes,
  attachmentsField,
  checkFieldBytes,
  decodeEntry,
  decodeHeader,
  stringFields,
  writeAttachments,
} from './header.js';
import type { Attachments } from './header.js';
import { maxAttachments, maxHeaderBytes } from './limits.js';
import { WireScanner, stringFieldBytes, writeStringField } from './wire.js';

/**
 * The header with string field `field` (1 to 10) set to `value`.
 *
 * @throws RangeError over a limit; MalformedHeader if `header` is malformed
 */
export function appendHeaderField(header: Buffer, field: number, value: string): Buffer {
  if (!Number.isInteger(field) || field < 1 || field > stringFields.length) {
    throw new RangeError(`field ${field} is not one of 1 to ${stringFields.length}`);
  }
  decodeHeader(header);
  const valueBytes = Buffer.byteLength(value);
  checkFieldBytes(field, valueBytes);
  const grown = withRoom(header, stringFieldBytes(valueBytes));
  writeStringField(grown, header.length, field, value, valueBytes);
  return grown;
}

/** The header with exactly these attachments; every other byte of it stays as it was, in its order. */
export function setAttachments(header: Buffer, attachments: Attachments): Buffer {
  const rest = withoutEntries(header, () => true);
  const grown = withRoom(rest, attachmentsBytes(attachments));
  writeAttachments(grown, rest.length, attachments);
  return grown;
}

/** The header without attachment `key`; the other attachments keep their bytes. */
export function removeAttachment(header: Buffer, key: string): Buffer {
  return withoutEntries(header, (entryKey) => entryKey === key);
}

/** The header with one attachment set: earlier entries of the key are removed, so the count stays bounded. */
export function setAttachment(header: Buffer, key: string, value: string): Buffer {
  const rest = removeAttachment(header, key);
  if (countEntries(rest) >= maxAttachments) throw new RangeError(`more than ${maxAttachments} attachments`);
  const one = Object.create(null) as Attachments;
  one[key] = value;
  const grown = withRoom(rest, attachmentsBytes(one));
  writeAttachments(grown, rest.length, one);
  return grown;
}

function withRoom(header: Buffer, more: number): Buffer {
  const total = header.length + more;
  if (total > maxHeaderBytes)
    throw new RangeError(`header of ${total} bytes is over the limit of ${maxHeaderBytes}`);
  const grown = Buffer.allocUnsafeSlow(total);
  header.copy(grown);
  return grown;
}

function withoutEntries(header: Buffer, drop: (key: string) => boolean): Buffer {
  decodeHeader(header);
  const kept: Buffer[] = [];
  eachField(header, (field, start, valueStart, end) => {
    if (field === attachmentsField && drop(decodeEntry(header, valueStart, end)[0])) return;
    kept.push(header.subarray(start, end));
  });
  return Buffer.concat(kept);
}

function countEntries(header: Buffer): number {
  let count = 0;
  eachField(header, (field) => {
    if (field === attachmentsField) count += 1;
  });
  return count;
}

/** Visits the fields of a header that decodeHeader has accepted. */
function eachField(
  header: Buffer,
  visit: (field: number, start: number, valueStart: number, end: number) => void,
): void {
  const scan = new WireScanner(header, 0, header.length);
  while (scan.at < header.length) {
    const start = scan.at;
    const tag = scan.varint32();
    const beforeLength = scan.at;
    let valueStart = beforeLength;
    if ((tag & 7) === 2) {
      const end = scan.lengthEnd();
      valueStart = scan.at;
      scan.at = end;
    } else scan.skip(tag & 7);
    visit(tag >>> 3, start, valueStart, scan.at);
  }
}
