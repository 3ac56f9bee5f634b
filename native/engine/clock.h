// The engine's only source of time. Injected, so that tests move time by hand instead of sleeping.
#pragma once

#include <ctime>

#include <cstdint>

namespace ringside {

class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic nanoseconds.
  virtual int64_t now_ns() const = 0;
};

class MonotonicClock final : public Clock {
 public:
  int64_t now_ns() const override {
    timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
  }
};

inline constexpr int64_t kNsPerMs = 1'000'000;
inline constexpr int64_t kNsPerUs = 1'000;

}  // namespace ringside
