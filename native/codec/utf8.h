// UTF-8 validity (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). Every string of a header
// passes through here, so ASCII is looked at eight bytes at a time. Must agree with TextDecoder's fatal mode,
// which the TypeScript codec uses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"

namespace ringside {

/// True if all n bytes are below 0x80.
inline bool is_ascii(const uint8_t* p, size_t n) {
  constexpr uint64_t kHigh = 0x8080808080808080ULL;
  if (n >= 8) {
    const uint8_t* last = p + n - 8;
    for (; p < last; p += 8) {
      if ((load_u64(p) & kHigh) != 0) return false;
    }
    // The last eight bytes may overlap those seen already: cheaper than a loop over the rest.
    return (load_u64(last) & kHigh) == 0;
  }
  uint8_t any = 0;
  for (size_t i = 0; i < n; ++i) any = static_cast<uint8_t>(any | p[i]);
  return any < 0x80;
}

/// The sequence at the start of n >= 1 bytes. ok: `bytes` is the length of a well-formed character. Not ok:
/// `bytes` is the length of the maximal ill-formed part, which one U+FFFD stands for (as TextDecoder does it).
struct Utf8Step {
  uint32_t bytes;
  bool ok;
};
Utf8Step utf8_step(const uint8_t* p, size_t n);

/// True if all n bytes are well-formed UTF-8. Empty is valid.
bool is_utf8(const uint8_t* p, size_t n);

}  // namespace ringside
