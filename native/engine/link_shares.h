// Who holds how much of the table of links. Those whom others open have shares of what is free (fair_share.h): applications on the unix socket,
// applications over TCP, other agents. A part is kept for the links that this agent opens itself, and another one for applications on its
// socket, so that nobody can keep it from calling or from being called. Small tables are not shared. Pure; used by share_links.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "native/engine/fair_share.h"

namespace ringside {

/// On which side of the agent a link is.
enum class LinkSide : uint8_t {
  kSocketApps = 0,  // opened by applications on the unix socket, shared memory included
  kTcpApps = 1,     // opened by applications over TCP: the loopback port, the egress fallback
  kPeers = 2,       // opened by other agents and by old clients
  kOwn = 3          // opened by this agent
};
inline constexpr size_t kLinkSides = 4;

class LinkShares {
 public:
  explicit LinkShares(uint32_t capacity) : capacity_(capacity) {}

  /// Whether one more link of this side finds room beside the others.
  bool has_room(LinkSide side) const {
    const uint32_t own = held(side);
    const uint32_t free = capacity_ - std::min(capacity_, total_);
    if (capacity_ < kTooFewLinksToShare) return free > 0;
    const uint32_t kept = kept_for_others(side);
    if (free <= kept) return false;
    return own < reserve_of(side) || may_take(own, 1, free - kept, capacity_, share_of(side));
  }
  void take(LinkSide side) {
    held_[static_cast<size_t>(side)]++;
    total_++;
  }
  void give_back(LinkSide side) {
    held_[static_cast<size_t>(side)]--;
    total_--;
  }
  uint32_t held(LinkSide side) const { return held_[static_cast<size_t>(side)]; }

 private:
  static constexpr uint32_t kTooFewLinksToShare = 64;
  static constexpr uint32_t kReservedPart = 16;
  /// Whoever reaches the loopback port may open links there: no more than half of the table.
  static constexpr uint64_t kShareOfFreeOverTcp = 1;

  static uint64_t share_of(LinkSide side) { return side == LinkSide::kTcpApps ? kShareOfFreeOverTcp : kShareOfFree; }
  uint32_t reserve_of(LinkSide side) const {
    return side == LinkSide::kOwn || side == LinkSide::kSocketApps ? capacity_ / kReservedPart : 0;
  }
  /// What others have not yet used of their reserves.
  uint32_t kept_for_others(LinkSide side) const {
    uint32_t kept = 0;
    for (const LinkSide other : {LinkSide::kOwn, LinkSide::kSocketApps}) {
      if (other != side) kept += reserve_of(other) - std::min(reserve_of(other), held(other));
    }
    return kept;
  }

  uint32_t capacity_;
  uint32_t total_ = 0;
  std::array<uint32_t, kLinkSides> held_{};
};

}  // namespace ringside
