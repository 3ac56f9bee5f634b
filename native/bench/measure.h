// The stopwatch of the native benchmarks, and the one format of their lines, which bench/micro reads: name, two spaces or more, figure,
// `ns`. Counts the time that the thread has had a core and reports the best of several rounds, because on a shared machine only the minimum
// is about the code.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <limits>
#include <type_traits>

namespace ringside {

/// Time that this thread has had a core, in nanoseconds.
inline double cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Prints how long one of `operations_per_call` operations takes that one call of `work` performs. `work` may take the call's number and
/// returns something that depends on what it did; the sum is printed so that no compiler drops the work.
template <typename Work>
void measure(const char* name, int calls, int operations_per_call, Work work) {
  constexpr int kRounds = 15;
  double best_ns = std::numeric_limits<double>::max();
  uint64_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double start_ns = cpu_ns();
    for (int i = 0; i < calls; ++i) {
      if constexpr (std::is_invocable_v<Work, uint32_t>) {
        sum += work(static_cast<uint32_t>(i));
      } else {
        sum += work();
      }
    }
    best_ns = std::min(best_ns, (cpu_ns() - start_ns) / calls / operations_per_call);
  }
  std::printf("%-56s  %8.1f ns  (checksum %llu)\n", name, best_ns, static_cast<unsigned long long>(sum));
}

}  // namespace ringside
