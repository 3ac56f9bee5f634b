// Memory for tables that are read all over, at random: in pages of 2 MiB where the kernel has them. A lookup in a large table costs a walk through the
// page tables beside the miss of the line itself; in a virtual machine that walk is the dearer one. A small table stays in ordinary memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace ringside {

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

/// For std::vector. Pages come with their first use, each as a whole; where the kernel has none to give, ordinary ones take their place.
template <typename T>
class HugePageAllocator {
 public:
  using value_type = T;

  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}

  T* allocate(size_t n) {
    if (!is_large(n)) return std::allocator<T>().allocate(n);
    const size_t bytes = (n * sizeof(T) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    void* const p = std::aligned_alloc(kHugePageBytes, bytes);
    if (p == nullptr) std::abort();  // as operator new does where nobody catches
    static_cast<void>(::madvise(p, bytes, MADV_HUGEPAGE));  // only a wish
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t n) {
    if (is_large(n)) {
      std::free(p);
    } else {
      std::allocator<T>().deallocate(p, n);
    }
  }

  bool operator==(const HugePageAllocator&) const { return true; }

 private:
  static bool is_large(size_t n) { return n >= kHugePageBytes / sizeof(T); }
};

}  // namespace ringside
