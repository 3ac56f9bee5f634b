// The part of UTF-8 validation that is not the ASCII fast path; called by the header parser for strings that
// hold a byte of 0x80 or above, and by whoever must replace ill-formed bytes.
#include "native/codec/utf8.h"

namespace ringside {

Utf8Step utf8_step(const uint8_t* p, size_t n) {
  const uint8_t lead = p[0];
  if (lead < 0x80) return {1, true};
  // Second-byte ranges of Unicode's table 3-7: they alone exclude overlong forms, surrogates and > U+10FFFF.
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  uint32_t length = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  if (n < 2 || p[1] < low || p[1] > high) return {1, false};
  for (uint32_t i = 2; i < length; ++i) {
    if (i >= n || (p[i] & 0xC0) != 0x80) return {i, false};
  }
  return {length, true};
}

bool is_utf8(const uint8_t* p, size_t n) {
  const uint8_t* const end = p + n;
  while (p < end) {
    if (end - p >= 8 && (load_u64(p) & 0x8080808080808080ULL) == 0) {
      p += 8;
      continue;
    }
    if (*p < 0x80) {
      ++p;
      continue;
    }
    const Utf8Step step = utf8_step(p, static_cast<size_t>(end - p));
    if (!step.ok) return false;
    p += step.bytes;
  }
  return true;
}

}  // namespace ringside
