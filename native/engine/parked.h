// Requests that wait for a decision of TypeScript, and the upcalls that asked for it. Requests with the same missing key share one upcall;
// a request that a user's filter looks at, or that is meant for the agent itself, has one of its own. Bounded in number and bytes;
// holds private copies of the frames. Owned by one worker.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "native/engine/flow_table.h"
#include "native/engine/handle.h"
#include "native/engine/timers.h"

namespace ringside {

inline constexpr uint32_t kNoParked = UINT32_MAX;

enum class UpcallKind : uint8_t { kMiss = 0, kFilter = 1, kControl = 2 };

struct ParkedRequest {
  bool live = false;
  TimerNode timer;
  Handle downstream;
  uint32_t upcall = UINT32_MAX;
  uint32_t next = kNoParked;  // of the same upcall, in order of arrival
  FlowRef flow;               // of a filtered request
  int64_t arrived_ns = 0;
  int64_t deadline_ns = 0;
  std::vector<uint8_t> frame;
};

struct Upcall {
  uint32_t generation = 1;
  bool live = false;
  UpcallKind kind = UpcallKind::kMiss;
  std::string key;  // kMiss
  uint32_t first = kNoParked;
  uint32_t last = kNoParked;
};

class ParkedTable {
 public:
  ParkedTable(uint32_t capacity, uint64_t max_bytes);

  bool has_room(size_t frame_bytes) const { return !free_.empty() && bytes_ + frame_bytes <= max_bytes_; }
  /// Whether it leaves room for the requests of other links, too.
  bool has_share(Handle downstream, uint32_t requests, size_t bytes) const;
  /// The upcall under way for a missing key, or UINT32_MAX.
  uint32_t find_upcall(std::string_view key) const;
  uint32_t open_upcall(UpcallKind kind, std::string_view key);
  /// Adds a request (there must be room); the caller fills in what is not named here.
  uint32_t park(uint32_t upcall, Handle downstream, std::vector<uint8_t> frame);
  /// Adds a piece of its body to a parked request. False: over the bound on bytes; nothing was added.
  bool append(uint32_t parked, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes);
  /// The parked request (the first, should there be several) that its sender knows as `request_id`, or kNoParked. Never a one-way.
  uint32_t find_request(Handle downstream, uint64_t request_id) const;
  /// Takes one request out, and its upcall with the last one. The caller has disarmed the timer.
  void remove(uint32_t parked);
  /// Ends an upcall; returns its requests in order of arrival, still parked but no longer on it.
  std::vector<uint32_t> close_upcall(uint32_t upcall);

  ParkedRequest& at(uint32_t slot) { return parked_[slot]; }
  Upcall& upcall(uint32_t slot) { return upcalls_[slot]; }
  Handle token(uint32_t upcall) const { return Handle{upcall, upcalls_[upcall].generation}; }
  bool is_open(Handle token) const {
    return token.slot < upcalls_.size() && upcalls_[token.slot].live && upcalls_[token.slot].generation == token.generation;
  }
  uint32_t capacity() const { return static_cast<uint32_t>(parked_.size()); }
  uint32_t size() const { return capacity() - static_cast<uint32_t>(free_.size()); }
  uint64_t bytes() const { return bytes_; }
  uint64_t max_bytes() const { return max_bytes_; }

 private:
  struct Share {
    uint32_t requests = 0;
    uint64_t bytes = 0;
  };
  using SenderId = std::pair<uint64_t, uint64_t>;  // link, request id

  static SenderId sender_id(const ParkedRequest& parked);
  void free_upcall(uint32_t slot);
  void free_parked(uint32_t slot);

  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::vector<ParkedRequest> parked_;
  std::vector<Upcall> upcalls_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> free_upcalls_;
  std::unordered_map<std::string, uint32_t> by_key_;
  std::map<SenderId, uint32_t> by_sender_;  // ordered: senders choose their ids, and hashes of them could be made to collide
  std::unordered_map<uint64_t, Share> shares_;  // of the links that have something here
};

}  // namespace ringside
