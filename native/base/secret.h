// Comparing secrets in a time that does not tell how much of a guess was right.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace ringside {

inline bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

}  // namespace ringside
