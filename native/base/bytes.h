// Little-endian loads and stores on unaligned memory. Used by every codec and by the shared-memory layout,
// so that one layout serves all architectures. No bounds are checked here: callers have checked.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace ringside {

static_assert(std::endian::native == std::endian::little,
              "Ringside's shared memory and codecs are written for little-endian machines");

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint64_t load_u64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store_u16(uint8_t* p, uint16_t v) { std::memcpy(p, &v, sizeof v); }
inline void store_u32(uint8_t* p, uint32_t v) { std::memcpy(p, &v, sizeof v); }
inline void store_u64(uint8_t* p, uint64_t v) { std::memcpy(p, &v, sizeof v); }

}  // namespace ringside
