// The rare half of protobuf_scan.h: varints of more than one byte and unknown fields.
#include "native/codec/protobuf_scan.h"

namespace ringside {

const uint8_t* read_varint32_slow(const uint8_t* p, const uint8_t* end, uint32_t* out) {
  uint32_t value = 0;
  for (size_t i = 0; i < kMaxVarintBytes; ++i) {
    if (p >= end) return nullptr;
    const uint8_t byte = *p++;
    const uint32_t group = byte & 0x7FU;
    if (i < 4) {
      value |= group << (7 * i);
    } else if (i == 4) {
      if (group > 0x0F) return nullptr;
      value |= group << 28;
    } else if (group != 0) {
      return nullptr;
    }
    if (byte < 0x80) {
      *out = value;
      return p;
    }
  }
  return nullptr;
}

const uint8_t* skip_value(const uint8_t* p, const uint8_t* end, uint32_t wire_type) {
  switch (wire_type) {
    case kWireVarint:
      for (size_t i = 0; i < kMaxVarintBytes; ++i) {
        if (p >= end) return nullptr;
        if (*p++ < 0x80) return p;
      }
      return nullptr;
    case kWireFixed64:
      return end - p >= 8 ? p + 8 : nullptr;
    case kWireBytes: {
      const uint8_t* data = nullptr;
      uint32_t n = 0;
      return read_bytes(p, end, &data, &n);
    }
    case kWireFixed32:
      return end - p >= 4 ? p + 4 : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace ringside
