// Bytes of this process's heap that are in use, without what an allocator or a sanitizer keeps back: the only figure
// that a bound can be put on in every build.
#pragma once

#include <malloc.h>

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RINGSIDE_SANITIZED_HEAP 1
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace ringside::testing {

inline size_t live_heap_bytes() {
#ifdef RINGSIDE_SANITIZED_HEAP
  return __sanitizer_get_current_allocated_bytes();
#else
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
#endif
}

}  // namespace ringside::testing
