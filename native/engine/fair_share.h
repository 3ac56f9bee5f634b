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

/// How much more one that holds `own` may take while `free` is left.
inline uint64_t room_of(uint64_t own, uint64_t free, uint64_t capacity) {
  if (capacity < kTooSmallToShare) return free;
  const uint64_t most = kShareOfFree * free;
  return most > own ? (most - own) / (kShareOfFree + 1) : 0;
}

/// Whether one of several behind a link may take one more: its share is of what the link may still take, so that however many of them take
/// all they can get, the next one behind that link finds room.
inline bool may_take_within(uint64_t own, uint64_t of_link, uint64_t free, uint64_t capacity) {
  return may_take(own, 1, room_of(of_link, free, capacity), capacity);
}

}  // namespace ringside
