// Reading protobuf's wire format in place: tags, lengths, and skipping what is unknown, under the strict rules 2
// and 3 of docs/wire-format.md. Used by the header parser and the patcher, so that both walk a header exactly
// alike. The input is hostile: every function checks against `end` before it reads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"

namespace ringside {

inline constexpr uint32_t kWireVarint = 0;
inline constexpr uint32_t kWireFixed64 = 1;
inline constexpr uint32_t kWireBytes = 2;
inline constexpr uint32_t kWireFixed32 = 5;
inline constexpr size_t kMaxVarintBytes = 10;

/// A varint that must fit 32 bits (tags and lengths); padding with zero groups up to ten bytes is allowed.
/// Returns the byte behind it, or nullptr if it is cut off, longer than ten bytes, or too large.
const uint8_t* read_varint32_slow(const uint8_t* p, const uint8_t* end, uint32_t* out);

inline const uint8_t* read_varint32(const uint8_t* p, const uint8_t* end, uint32_t* out) {
  if (p < end && *p < 0x80) [[likely]] {
    *out = *p;
    return p + 1;
  }
  return read_varint32_slow(p, end, out);
}

/// Bytes of a length-delimited field whose tag was just read; *data and *n describe its contents. Returns the
/// byte behind it, or nullptr if the length is malformed or reaches beyond the end.
inline const uint8_t* read_bytes(const uint8_t* p, const uint8_t* end, const uint8_t** data, uint32_t* n) {
  p = read_varint32(p, end, n);
  if (p == nullptr || *n > static_cast<size_t>(end - p)) return nullptr;
  *data = p;
  return p + *n;
}

/// Skips the value of an unknown field. Returns the byte behind it, or nullptr if it is malformed: wire type
/// other than 0, 1, 2, 5, or a value that reaches beyond the end.
const uint8_t* skip_value(const uint8_t* p, const uint8_t* end, uint32_t wire_type);

/// Bytes that `v` takes as a varint of the shortest form.
inline size_t varint32_bytes(uint32_t v) {
  size_t bytes = 1;
  for (; v >= 0x80; v >>= 7) ++bytes;
  return bytes;
}

/// Writes `v` in the shortest form; the caller has made sure of varint32_bytes(v) bytes. Returns the byte behind.
inline uint8_t* write_varint32(uint8_t* p, uint32_t v) {
  for (; v >= 0x80; v >>= 7) *p++ = static_cast<uint8_t>(v | 0x80);
  *p++ = static_cast<uint8_t>(v);
  return p;
}

}  // namespace ringside
