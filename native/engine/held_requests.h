// Requests that cannot go on yet, as private copies of their frames. What two tables share: those that wait for a decision (parked.h) and
// those that wait for an instance (waiting.h). Bounded in number and bytes; no link gets all of either. Owned by one worker.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "native/engine/flow_table.h"
#include "native/engine/handle.h"
#include "native/engine/timers.h"

namespace ringside {

inline constexpr uint32_t kNoHeld = UINT32_MAX;

struct HeldRequest {
  bool live = false;
  TimerNode timer;
  Handle downstream;
  uint32_t queue = UINT32_MAX;  // the upcall or the cluster that it waits for
  uint32_t next = kNoHeld, previous = kNoHeld;  // of the same queue, in order of arrival
  FlowRef flow;
  int64_t arrived_ns = 0;
  int64_t deadline_ns = 0;
  std::vector<uint8_t> frame;  // the request, and what came of its body
};

/// Those that wait for the same thing, in order of arrival.
struct HeldQueue {
  uint32_t first = kNoHeld, last = kNoHeld;
};

/// What somebody has of a table.
struct HeldShare {
  uint32_t requests = 0;
  uint64_t bytes = 0;
};

class HeldRequests {
 public:
  bool has_room(size_t frame_bytes) const { return !free_.empty() && bytes_ + frame_bytes <= max_bytes_; }
  /// Whether it leaves room for the requests of other links, too.
  bool has_share(Handle downstream, uint32_t requests, size_t bytes) const;
  /// Whether anything of this link is here.
  bool holds(Handle downstream) const { return shares_.contains(downstream.pack()); }
  /// The request (the first, should there be several) that its sender knows as `request_id`, or kNoHeld. Never a one-way.
  uint32_t find_request(Handle downstream, uint64_t request_id) const;

  HeldRequest& at(uint32_t slot) { return held_[slot]; }
  const HeldRequest& at(uint32_t slot) const { return held_[slot]; }
  uint32_t capacity() const { return static_cast<uint32_t>(held_.size()); }
  uint32_t size() const { return capacity() - static_cast<uint32_t>(free_.size()); }
  uint64_t bytes() const { return bytes_; }
  uint64_t max_bytes() const { return max_bytes_; }

 protected:
  HeldRequests(TimerKind kind, uint32_t capacity, uint64_t max_bytes);
  ~HeldRequests() = default;

  /// Adds a request at the end of `queue` (there must be room).
  uint32_t hold(HeldQueue* queue, uint32_t queue_id, Handle downstream, std::vector<uint8_t> frame);
  /// Adds a piece of its body. False: over the bound on bytes; nothing was added.
  bool append(uint32_t slot, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes);
  void leave(HeldQueue* queue, uint32_t slot);
  void free(uint32_t slot);
  /// Whether one who has `share` of the table may take more.
  bool may_have(const HeldShare& share, uint32_t requests, size_t bytes) const;

 private:
  using SenderId = std::pair<uint64_t, uint64_t>;  // link, request id

  static SenderId sender_id(const HeldRequest& held);

  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::vector<HeldRequest> held_;
  std::vector<uint32_t> free_;
  std::map<SenderId, uint32_t> by_sender_;  // ordered: senders choose their ids, and hashes of them could be made to collide
  std::unordered_map<uint64_t, HeldShare> shares_;  // of the links that have something here
};

}  // namespace ringside
