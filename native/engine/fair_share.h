// How much of a table one link may use. A link is let in only while it holds at most four times what is still free, so that one which
// takes all it can get stops at four fifths and others find room (dynamic thresholds, Choudhury and Hahne). Tiny tables are not shared. Pure.
#pragma once

#include <cstdint>

namespace ringside {

inline constexpr uint64_t kShareOfFree = 4;
/// For one of several behind a link: less, so that it stops before the link does, and leaves room for the others there.
inline constexpr uint64_t kShareOfFreeWithinLink = 2;
inline constexpr uint64_t kTooSmallToShare = 8;

/// Whether a link that holds `own` of a table of `capacity`, of which `free` is left, may take `more`.
inline bool may_take(uint64_t own, uint64_t more, uint64_t free, uint64_t capacity, uint64_t share = kShareOfFree) {
  return more <= free && (capacity < kTooSmallToShare || own <= share * (free - more));
}

}  // namespace ringside
