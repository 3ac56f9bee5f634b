// Decodes and encodes the protobuf Header of a frame by the rules of docs/wire-format.md. This is the oracle of
// the differential tests against the native parser, so what it accepts is the protocol: every occurrence of a
// known field is checked, although only the last one counts. Absent and empty strings are the same thing.
import { Buffer } from 'node:buffer';
import { maxAttachments, maxHeaderBytes, maxNameBytes } from './limits.js';
import {
  WireScanner,
  malformed,
  stringFieldBytes,
  writeStringField,
  writeVarint,
  varintBytes,
} from './wire.js';

/** Strings by name; objects of this type made here have no prototype, so any key is only a key. */
export type Attachments = Record<string, string>;

/** A decoded header. Strings that are absent are empty. */
export interface Header {
  service: string;
  method: string;
  group: string;
  version: string;
  sourceApp: string;
  statusMessage: string;
  traceparent: string;
  tracestate: string;
  contentType: string;
  hashKey: string;
  attachments: Attachments | undefined;
}

/** Field numbers of the string fields, in the order of their numbers from 1. */
export const stringFields = [
  'service',
  'method',
  'group',
  'version',
  'sourceApp',
  'statusMessage',
  'traceparent',
  'tracestate',
  'contentType',
  'hashKey',
] as const satisfies readonly (keyof Header)[];

export const attachmentsField = 11;

/** Longest value of a string field, in bytes. */
export function maxFieldBytes(field: number): number {
  return field <= 2 ? maxNameBytes : maxHeaderBytes;
}

/** A header with nothing in it. */
export function emptyHeader(): Header {
  return {
    service: '',
    method: '',
    group: '',
    version: '',
    sourceApp: '',
    statusMessage: '',
    traceparent: '',
    tracestate: '',
    contentType: '',
    hashKey: '',
    attachments: undefined,
  };
}

/**
 * Decodes `bytes[start, end)`.
 *
 * @throws MalformedHeader with the reason
 */
export function decodeHeader(bytes: Buffer, start = 0, end = bytes.length): Header {
  const header = emptyHeader();
  if (end - start > maxHeaderBytes) malformed(`the header is over ${maxHeaderBytes} bytes`);
  const scan = new WireScanner(bytes, start, end);
  let entries = 0;
  while (scan.at < end) {
    const tag = scan.varint32();
    const field = tag >>> 3;
    const wireType = tag & 7;
    if (field === 0) malformed('field number 0');
    if (field > attachmentsField) {
      scan.skip(wireType);
      continue;
    }
    if (wireType !== 2) malformed(`field ${field} has wire type ${wireType}`);
    if (field === attachmentsField) {
      entries += 1;
      if (entries > maxAttachments) malformed(`more than ${maxAttachments} attachments`);
      const entryEnd = scan.lengthEnd();
      const [key, value] = decodeEntry(bytes, scan.at, entryEnd);
      (header.attachments ??= Object.create(null) as Attachments)[key] = value;
      scan.at = entryEnd;
    } else {
      const name = stringFields[field - 1]!;
      header[name] = scan.string(maxFieldBytes(field), name);
    }
  }
  return header;
}

/** Decodes one attachment entry; a missing key or value is the empty string. */
export function decodeEntry(bytes: Buffer, start: number, end: number): [key: string, value: string] {
  const scan = new WireScanner(bytes, start, end);
  let key = '';
  let value = '';
  while (scan.at < end) {
    const tag = scan.varint32();
    const field = tag >>> 3;
    const wireType = tag & 7;
    if (field === 0) malformed('field number 0 in an attachment');
    if (field > 2) {
      scan.skip(wireType);
      continue;
    }
    if (wireType !== 2) malformed(`field ${field} of an attachment has wire type ${wireType}`);
    if (field === 1) key = scan.string(maxHeaderBytes, 'an attachment key');
    else value = scan.string(maxHeaderBytes, 'an attachment value');
  }
  return [key, value];
}

/** Throws RangeError if a string field cannot hold a value of so many bytes. */
export function checkFieldBytes(field: number, valueBytes: number): void {
  if (valueBytes > maxFieldBytes(field)) {
    throw new RangeError(`${stringFields[field - 1]} of ${valueBytes} bytes is over ${maxFieldBytes(field)}`);
  }
}

/** Bytes that `attachments` take in a header. Throws RangeError if there are more than 64. */
export function attachmentsBytes(attachments: Attachments): number {
  const keys = Object.keys(attachments);
  if (keys.length > maxAttachments) {
    throw new RangeError(`${keys.length} attachments are over the limit of ${maxAttachments}`);
  }
  let total = 0;
  for (const key of keys) {
    const entry = entryBytes(Buffer.byteLength(key), Buffer.byteLength(attachments[key]!));
    total += 1 + varintBytes(entry) + entry;
  }
  return total;
}

function entryBytes(keyBytes: number, valueBytes: number): number {
  return stringFieldBytes(keyBytes) + stringFieldBytes(valueBytes);
}

/** Writes all attachments at `at`, where attachmentsBytes() of room are; answers the position behind them. */
export function writeAttachments(bytes: Buffer, at: number, attachments: Attachments): number {
  let position = at;
  for (const key of Object.keys(attachments)) {
    const value = attachments[key]!;
    const keyBytes = Buffer.byteLength(key);
    const valueBytes = Buffer.byteLength(value);
    bytes[position] = (attachmentsField << 3) | 2;
    position = writeVarint(bytes, position + 1, entryBytes(keyBytes, valueBytes));
    position = writeStringField(bytes, position, 1, key, keyBytes);
    position = writeStringField(bytes, position, 2, value, valueBytes);
  }
  return position;
}

/**
 * Encodes a header; empty and absent fields take no bytes.
 *
 * @throws RangeError if a limit of the wire format does not hold
 */
export function encodeHeader(header: Partial<Header>): Buffer {
  let total = header.attachments === undefined ? 0 : attachmentsBytes(header.attachments);
  for (let field = 1; field <= stringFields.length; field += 1) {
    const value = header[stringFields[field - 1]!];
    if (!value) continue;
    const valueBytes = Buffer.byteLength(value);
    checkFieldBytes(field, valueBytes);
    total += stringFieldBytes(valueBytes);
  }
  if (total > maxHeaderBytes)
    throw new RangeError(`header of ${total} bytes is over the limit of ${maxHeaderBytes}`);
  const bytes = Buffer.allocUnsafeSlow(total);
  let at = 0;
  for (let field = 1; field <= stringFields.length; field += 1) {
    const value = header[stringFields[field - 1]!];
    if (value) at = writeStringField(bytes, at, field, value, Buffer.byteLength(value));
  }
  if (header.attachments !== undefined) writeAttachments(bytes, at, header.attachments);
  return bytes;
}
