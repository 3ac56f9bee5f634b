// The table of pending requests is shared out among links, behind another agent's link among its apps, and towards another agent among the
// apps here, since there all of them count as one link (fair_share.h). Asked for every request, so it looks at nothing but counts while the
// table is mostly empty.
#include <algorithm>

#include "native/engine/engine.h"
#include "native/engine/fair_share.h"

namespace ringside {

namespace {
// As long as no more than this part of the table is in use, apps are neither asked for nor counted: almost always.
constexpr uint32_t kUncountedPart = 8;
// Where a smaller table is all there is, links alone share it.
constexpr uint32_t kTooSmallToShareTwice = 64;
}  // namespace

/// Whether a request from `from` to `to` may become pending. Sets `counted` to the app whose share it then counts for, if any.
bool Engine::may_await(const Link& from, const Link& to, const Frame& request, Sender* counted) const {
  const uint32_t capacity = pending_.capacity();
  const uint32_t free = capacity - pending_.size();
  const uint32_t own = from.down.count;
  if (!may_take(own, 1, free, capacity)) return false;
  if (pending_.size() <= capacity / kUncountedPart || capacity < kTooSmallToShareTwice) return true;
  if (from.role == LinkRole::kPeer) {
    *counted = sender_of(from, request);
    return may_take_within(pending_.counted(*counted), own, free, capacity);
  }
  if (to.role != LinkRole::kUpstream || to.protocol != LinkProtocol::kMesh) return true;
  // What the other agent gives this one's link, if its table is as large.
  return may_take_within(own, to.up.count, capacity - std::min(capacity, to.up.count), capacity);
}

}  // namespace ringside
