// The stopwatch of the native benchmarks, and the one format of their lines, which bench/micro reads: name, two spaces or more, figure,
// `ns`. Reports the best of several rounds, because on a shared machine only the minimum is about the code.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

namespace ringside {

/// Prints how long one of `operations_per_call` operations takes that one call of `work` performs. `work` returns something
/// that depends on what it did; the sum is printed so that no compiler drops the work.
template <typename Work>
void measure(const char* name, int calls, int operations_per_call, Work work) {
  constexpr int kRounds = 15;
  double best_ns = std::numeric_limits<double>::max();
  uint64_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) sum += work();
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    best_ns = std::min(best_ns, spent.count() / calls / operations_per_call);
  }
  std::printf("%-56s  %8.1f ns  (checksum %llu)\n", name, best_ns, static_cast<unsigned long long>(sum));
}

}  // namespace ringside
