// A DDSketch of latencies (Masson, Rim, Lee: "DDSketch", VLDB 2019) with relative accuracy 2%, filled by the worker and read out
// sparsely. Bucket 0 holds values up to 1 us, bucket i the values in (gamma^(i-1), gamma^i] us with
// gamma = 1.02 / 0.98. Fixed size: the last bucket takes everything longer.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace ringside {

class Sketch {
 public:
  static constexpr uint32_t kBuckets = 512;  // gamma^511 us is about 12 minutes

  void add_ns(int64_t value_ns) {
    counts_[bucket_of(value_ns)]++;
    count_++;
    sum_us_ += static_cast<double>(value_ns) / 1000.0;
  }
  /// Adds what another sketch counted; the caller has made sure of `bucket`.
  void add_bucket(uint32_t bucket, uint32_t count) {
    counts_[bucket] += count;
    count_ += count;
  }
  void add_sum_us(double sum_us) { sum_us_ += sum_us; }
  uint64_t count() const { return count_; }
  double sum_us() const { return sum_us_; }
  uint32_t at(uint32_t bucket) const { return counts_[bucket]; }

  static uint32_t bucket_of(int64_t value_ns) {
    if (value_ns <= 1000) return 0;
    // 1 / log2(gamma) with gamma = 1.02 / 0.98
    constexpr double kPerOctave = 17.326369;
    const double octaves = std::log2(static_cast<double>(value_ns) / 1000.0);
    const double bucket = std::ceil(octaves * kPerOctave);
    return bucket >= kBuckets ? kBuckets - 1 : static_cast<uint32_t>(bucket);
  }

 private:
  std::array<uint32_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  double sum_us_ = 0;
};

}  // namespace ringside
