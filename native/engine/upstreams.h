// Where this agent connects to: other agents, one TCP link per address, shared by all instances behind it; and old servers, which do one
// request at a time, a bounded number of links each. They are made when a request needs them. After a failure new attempts wait (doubling, jittered), and meanwhile the address is not picked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/engine/clock.h"
#include "native/engine/handle.h"
#include "native/engine/hash.h"
#include "native/link/link.h"
#include "native/link/socket.h"

namespace ringside {

struct Upstream {
  std::string address;
  SocketAddress socket_address;
  LinkProtocol protocol = LinkProtocol::kMesh;
  uint32_t references = 0;  // instances
  bool live = false;
  std::vector<Handle> links;  // of a mesh agent one at most
  uint32_t failures = 0;    // in a row
  int64_t next_attempt_ns = 0;
  std::string last_error;
  bool problem_told = false;  // TypeScript knows that it cannot be reached
};

class Upstreams {
 public:
  /// The slot of an address, made when new; UINT32_MAX when it does not parse.
  uint32_t acquire(const std::string& address, LinkProtocol protocol) {
    const auto it = by_address_.find(key_of(address, protocol));
    if (it != by_address_.end()) {
      slots_[it->second].references++;
      return it->second;
    }
    Result<SocketAddress> parsed = parse_address(address);
    if (!parsed) return UINT32_MAX;
    uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    Upstream fresh;
    fresh.address = address;
    fresh.socket_address = parsed.value();
    fresh.protocol = protocol;
    fresh.references = 1;
    fresh.live = true;
    slots_[slot] = std::move(fresh);
    by_address_.emplace(key_of(address, protocol), slot);
    return slot;
  }
  /// True: nobody names it any more; its link should close when nothing is pending on it.
  bool release(uint32_t slot) {
    Upstream& upstream = slots_[slot];
    if (--upstream.references > 0) return false;
    by_address_.erase(key_of(upstream.address, upstream.protocol));
    upstream.live = false;
    free_.push_back(slot);
    return true;
  }
  /// The slot of an address that some instance names, or UINT32_MAX.
  uint32_t find(const std::string& address, LinkProtocol protocol) const {
    const auto it = by_address_.find(key_of(address, protocol));
    return it == by_address_.end() ? UINT32_MAX : it->second;
  }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [key, slot] : by_address_) visit(slots_[slot]);
  }
  Upstream& at(uint32_t slot) { return slots_[slot]; }
  const Upstream& at(uint32_t slot) const { return slots_[slot]; }

  void connected(uint32_t slot) { slots_[slot].last_error.clear(); }
  /// Waits longer after each failure in a row: 50 ms doubling to 5 s, of which a random half is taken off. A link that was open for
  /// longer than the longest wait begins a new row; one that opens and breaks at once goes on with the old one.
  void failed(uint32_t slot, const std::string& why, int64_t was_open_ns, int64_t now_ns, Random* random) {
    Upstream& upstream = slots_[slot];
    upstream.last_error = why;
    if (was_open_ns > kMaxWaitMs * kNsPerMs) upstream.failures = 0;
    const uint32_t doublings = std::min<uint32_t>(upstream.failures++, 7);
    const uint32_t ceiling_ms = std::min<uint32_t>(50u << doublings, kMaxWaitMs);
    const uint32_t wait_ms = ceiling_ms / 2 + random->below(ceiling_ms / 2 + 1);
    upstream.next_attempt_ns = now_ns + wait_ms * kNsPerMs;
  }

 private:
  static constexpr uint32_t kMaxWaitMs = 5000;

  static std::string key_of(const std::string& address, LinkProtocol protocol) {
    return protocol == LinkProtocol::kMesh ? address : "legacy " + address;
  }

  std::vector<Upstream> slots_;
  std::vector<uint32_t> free_;
  std::unordered_map<std::string, uint32_t> by_address_;
};

}  // namespace ringside
