// Counts this process's descriptors, so that tests can prove that nothing leaked.
#pragma once

#include <cstddef>
#include <filesystem>

namespace ringside::testing {

inline size_t open_fds() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

}  // namespace ringside::testing
