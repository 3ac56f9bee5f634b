// The bounds of the wire format (docs/wire-format.md), the same as in native/base/limits.h. They are part of
// the protocol: both ends of a link must agree on them, so no option changes them.

export const fixedBytes = 32;
export const maxHeaderBytes = 16 * 1024;
export const maxFrameBodyBytes = 64 * 1024;
/** Longest body of a request or response, in however many pieces: its length travels as 32 bits. */
export const maxBodyBytes = 0xffffffff;
/** Bytes of one body that its sender may have sent beyond the credit it was given. */
export const streamWindowBytes = 256 * 1024;
export const maxFrameBytes = fixedBytes + maxHeaderBytes + maxFrameBodyBytes;
/** Longest service or method name, in bytes of UTF-8. */
export const maxNameBytes = 256;
/** Most attachment entries in one header, counted before equal keys are merged. */
export const maxAttachments = 64;
export const minRingBytes = 256 * 1024;
export const maxRingBytes = 64 * 1024 * 1024;
