// Writes request frames. What is the same for every call of a method (service, method, group, version, source
// app, content type) is encoded once and kept in a bounded cache; what differs (hash key, trace, attachments) is
// written behind it. Called once per call, so it allocates nothing in the usual case.
import { Buffer } from 'node:buffer';
import { writeFixed } from '../protocol/frame.js';
import { attachmentsBytes, checkFieldBytes, encodeHeader, writeAttachments } from '../protocol/header.js';
import { fixedBytes, maxHeaderBytes } from '../protocol/limits.js';
import { whyNoName, whyNoService } from '../protocol/name.js';
import { stringFieldBytes, writeStringField } from '../protocol/wire.js';
import type { Outbound } from './outbound.js';
import type { CallOptions } from './types.js';

const field = { traceparent: 7, tracestate: 8, hashKey: 10 } as const;

/** Methods whose static header part is kept; past it the cache starts again from nothing. */
const maxCachedHeaders = 4096;

/** Static header parts by service and method. One per client. */
export class CallHeaders {
  readonly #plain = new Map<string, Map<string, Buffer>>();
  /** Those with group, version or content type, by service and the JSON of all names. */
  readonly #qualified = new Map<string, Map<string, Buffer>>();
  #count = 0;

  constructor(readonly sourceApp: string) {}

  /** The encoded static part. Throws RangeError (or TypeError) for names that the wire format does not allow. */
  staticPart(service: string, method: string, options: CallOptions): Buffer {
    const { group, version, contentType } = options;
    const plain = group === undefined && version === undefined && contentType === undefined;
    const cache = plain ? this.#plain : this.#qualified;
    const key = plain ? method : JSON.stringify([method, group, version, contentType]);
    return cache.get(service)?.get(key) ?? this.#encode(service, method, options, cache, key);
  }

  #encode(
    service: string,
    method: string,
    options: CallOptions,
    cache: Map<string, Map<string, Buffer>>,
    key: string,
  ): Buffer {
    const { group = '', version = '' } = options;
    check('service', whyNoService(service));
    check('method', whyNoName(method), service);
    check('group', whyNoName(group), service);
    check('version', whyNoName(version), service);
    const encoded = encodeHeader({
      service,
      method,
      group,
      version,
      contentType: options.contentType ?? '',
      sourceApp: this.sourceApp,
    });
    if (this.#count >= maxCachedHeaders) {
      this.#plain.clear();
      this.#qualified.clear();
      this.#count = 0;
    }
    let methods = cache.get(service);
    if (methods === undefined) cache.set(service, (methods = new Map<string, Buffer>()));
    methods.set(key, encoded);
    this.#count += 1;
    return encoded;
  }
}

function check(what: string, wrong: string | undefined, service?: string): void {
  if (wrong === undefined) return;
  throw new RangeError(`the ${what} of a call${service === undefined ? '' : ` to ${service}`} ${wrong}`);
}

/** What is written behind the static part. */
export interface DynamicHeader {
  readonly hashKey: string;
  readonly traceparent: string;
  readonly tracestate: string;
  readonly attachments: CallOptions['attachments'];
}

function dynamicBytes(dynamic: DynamicHeader): number {
  let total = 0;
  for (const name of ['traceparent', 'tracestate', 'hashKey'] as const) {
    if (dynamic[name] === '') continue;
    const valueBytes = Buffer.byteLength(dynamic[name]);
    checkFieldBytes(field[name], valueBytes);
    total += stringFieldBytes(valueBytes);
  }
  return dynamic.attachments === undefined ? total : total + attachmentsBytes(dynamic.attachments);
}

function writeDynamic(bytes: Buffer, at: number, dynamic: DynamicHeader): void {
  let position = at;
  for (const name of ['traceparent', 'tracestate', 'hashKey'] as const) {
    const value = dynamic[name];
    if (value !== '') {
      position = writeStringField(bytes, position, field[name], value, Buffer.byteLength(value));
    }
  }
  if (dynamic.attachments !== undefined) writeAttachments(bytes, position, dynamic.attachments);
}

/** Length of the header that writeRequest will write. Throws RangeError if it is over a limit. */
export function requestHeaderBytes(staticPart: Buffer, dynamic: DynamicHeader | undefined): number {
  if (dynamic === undefined) return staticPart.length;
  const total = staticPart.length + dynamicBytes(dynamic);
  if (total > maxHeaderBytes)
    throw new RangeError(`header of ${total} bytes is over the limit of ${maxHeaderBytes}`);
  return total;
}

/** The header of a streamed request in a buffer of its own, or the cached one. Throws RangeError over a limit. */
export function encodeRequestHeader(staticPart: Buffer, dynamic: DynamicHeader | undefined): Buffer {
  if (dynamic === undefined) return staticPart;
  const bytes = Buffer.allocUnsafe(requestHeaderBytes(staticPart, dynamic));
  bytes.set(staticPart);
  writeDynamic(bytes, staticPart.length, dynamic);
  return bytes;
}

/** Appends a request or one-way frame; lengths are checked. */
export function writeRequest(
  out: Outbound,
  type: number,
  flags: number,
  idLo: number,
  idHi: number,
  timeoutMs: number,
  staticPart: Buffer,
  dynamic: DynamicHeader | undefined,
  headerBytes: number,
  body: Uint8Array | string,
  bodyBytes: number,
): void {
  const at = out.reserve(fixedBytes + headerBytes + bodyBytes);
  const bytes = out.bytes;
  writeFixed(bytes, at, type, flags, 0, 0, headerBytes, bodyBytes, idLo, idHi, timeoutMs, 0);
  bytes.set(staticPart, at + fixedBytes);
  if (dynamic !== undefined) writeDynamic(bytes, at + fixedBytes + staticPart.length, dynamic);
  if (typeof body === 'string') bytes.write(body, at + fixedBytes + headerBytes, bodyBytes, 'utf8');
  else bytes.set(body, at + fixedBytes + headerBytes);
}
