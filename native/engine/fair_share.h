// How much of a table one link may use. A link is let in only while it holds at most four times what is still free, so that one which
// takes all it can get stops at four fifths and others find room (dynamic thresholds, Choudhury and Hahne). The first few are free, so that
// tiny tables can be filled. Pure.
#pragma once

#include <cstdint>

namespace ringside {

inline constexpr uint64_t kShareOfFree = 4;
inline constexpr uint64_t kAlwaysLetIn = 4;

/// Whether a link that holds `own` of a table of which `free` is left may take `more`.
inline bool may_take(uint64_t own, uint64_t more, uint64_t free) {
  return more <= free && (own < kAlwaysLetIn || own <= kShareOfFree * (free - more));
}

}  // namespace ringside
