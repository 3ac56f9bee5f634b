// Seeded hash of byte strings for the engine's tables. Names come from peers that may want them to collide, hence the
// seed; the mixing is the 64 x 64 -> 128 bit multiply-and-fold that several fast hashes are built on.
#pragma once

#include <cstdint>
#include <string_view>

#include "native/base/bytes.h"

namespace ringside {

inline uint64_t fold_multiply(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t n = bytes.size();
  uint64_t h = seed ^ (n * 0x9E3779B97F4A7C15ull);
  for (; n >= 8; p += 8, n -= 8) h = fold_multiply(h ^ load_u64(p), 0xD6E8FEB86659FD93ull ^ seed);
  // The rest in whole loads: some bytes may be taken twice, which hurts nothing since the length is mixed in.
  uint64_t tail = 0;
  if (bytes.size() >= 8) {
    tail = load_u64(p + n - 8);
  } else if (n >= 4) {
    tail = load_u32(p) | uint64_t{load_u32(p + n - 4)} << 32;
  } else if (n > 0) {
    tail = uint64_t{p[0]} | uint64_t{p[n / 2]} << 8 | uint64_t{p[n - 1]} << 16;
  }
  h = fold_multiply(h ^ tail, 0xA0761D6478BD642Full);
  return fold_multiply(h, 0xE7037ED1A0B428DBull ^ seed);
}

/// xorshift-multiply generator for picks and jitter: speed matters, secrecy does not.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ull;
    return fold_multiply(state_, state_ ^ 0xE7037ED1A0B428DBull);
  }
  /// 0 to bound - 1; bound > 0.
  uint32_t below(uint32_t bound) {
    return static_cast<uint32_t>(((next() & 0xFFFFFFFFull) * bound) >> 32);
  }

 private:
  uint64_t state_;
};

}  // namespace ringside
