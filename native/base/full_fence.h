// The full fence of the sleeping-flag protocols (docs/shm-layout.md, Order). In a header of its own because
// ThreadSanitizer does not model fences and GCC warns of each one; data races are still found, since payload is
// ordered by release and acquire on the indices alone.
#pragma once

#include <atomic>

namespace ringside {

inline void full_fence() {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

}  // namespace ringside
