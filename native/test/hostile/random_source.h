// Seeded choices of the hostile tests: a run is repeated by its seed, and the shortest way to a failure is the round
// it printed. Not for anything that needs good randomness.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace ringside::testing {

class RandomSource {
 public:
  explicit RandomSource(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  /// 0 to n - 1.
  uint64_t below(uint64_t n) { return next() % n; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  template <typename T>
  const T& of(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }
  /// Values at which checks break: small ones, powers of two and their neighbours, all ones, anything.
  uint64_t edge() {
    switch (below(6)) {
      case 0:
        return below(64);
      case 1:
        return (uint64_t{1} << below(64)) + below(17) - 8;
      case 2:
        return ~uint64_t{0} - below(64);
      case 3:
        return below(1 << 20) & ~uint64_t{7};
      case 4:
        return next() & 0xFFFFFFFF;
      default:
        return next();
    }
  }

 private:
  uint64_t state_;
};

/// A number from the environment, or what stands in for it.
inline uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace ringside::testing
