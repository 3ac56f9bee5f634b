// What the links of the legacy protocol hold in memory together: an old peer's messages are whole here before they go on, so a bound on
// each of them alone would let many links add up. Each link books what it holds (LegacyLink::book) and asks before it takes more; a link
// that takes all it can get leaves room for the others (native/engine/fair_share.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "native/engine/fair_share.h"

namespace ringside {

struct LegacyAccount {
  explicit LegacyAccount(uint64_t max_bytes_) : max_bytes(max_bytes_) {}

  /// Whether a link that holds `own` bytes may hold `more`; counts where not.
  bool may_hold(uint64_t own, uint64_t more) {
    if (may_take(own, more, max_bytes - std::min(bytes, max_bytes), max_bytes)) return true;
    refused++;
    return false;
  }
  /// Notes the size of a message, of either direction.
  void saw_message(uint64_t message_bytes) { largest_message_bytes = std::max(largest_message_bytes, message_bytes); }

  const uint64_t max_bytes;
  uint64_t bytes = 0;
  uint64_t largest_message_bytes = 0;
  uint64_t refused = 0;
};

}  // namespace ringside
