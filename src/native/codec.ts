// The native codec as TypeScript sees it: bytes in, plain values out. It exists for the differential tests, which
// hold it against src/protocol; nothing at run time calls it. What must stay true: it says what the engine's own
// parser says, without any rule of its own.
import { loadAddon } from './load.js';

/** Why the native codec refused something. */
export interface NativeProblem {
  readonly problem: string;
}

/** The numbers of a frame's fixed part. */
export interface NativeFixedPart {
  readonly type: number;
  readonly flags: number;
  readonly status: number;
  readonly attempt: number;
  readonly headerBytes: number;
  readonly bodyBytes: number;
  readonly idLo: number;
  readonly idHi: number;
  readonly timeoutMs: number;
  readonly value: number;
}

/** A header as the native parser sees it. */
export interface NativeHeader {
  /** Fields 1 to 10 in order; absent ones are empty. */
  readonly strings: readonly string[];
  /** Attachment entries as they stand on the wire, before equal keys are merged. */
  readonly entries: number;
  /** For each key asked for: its value, or null. */
  readonly found: readonly (string | null)[];
}

/** What the native reader finds in a request of the legacy protocol. */
export interface NativeLegacyRequest {
  readonly action: string;
  readonly method: string;
  /** JSON text of an array. */
  readonly args: string;
  /** JSON text of an object, or empty. */
  readonly props: string;
}

/** The functions of native/port/codec_port.cc. */
export interface NativeCodec {
  /** The first frame of a stream; undefined if more bytes are needed. */
  splitFrame(bytes: Uint8Array): NativeFixedPart | NativeProblem | undefined;
  /** Parses a header and looks `keys` up among its attachments. */
  parseHeader(bytes: Uint8Array, keys?: readonly string[]): NativeHeader | NativeProblem;
  /** Appends string field `field` (1 to 10). */
  patchHeader(bytes: Uint8Array, field: number, value: string): Uint8Array | NativeProblem;
  /** Sets (string) or removes (null) attachments. */
  patchHeader(
    bytes: Uint8Array,
    changes: readonly (readonly [key: string, value: string | null])[],
  ): Uint8Array | NativeProblem;
  /** Whether the bytes are one JSON value in UTF-8. */
  isJson(bytes: Uint8Array): boolean;
  /** Reads a request of the legacy protocol; `problem` is its result code. */
  readLegacyRequest(bytes: Uint8Array): NativeLegacyRequest | { readonly problem: number };
}

/**
 * The native codec.
 *
 * @throws Error when the addon is not available
 */
export function nativeCodec(): NativeCodec {
  return loadAddon()['codec'] as NativeCodec;
}
