// Requests that wait at their cluster: for the first list of a service's instances, or, where the caller asked for it (flag WAIT_FOR_READY), for
// an instance that can be reached. They have a table of their own, with a share for each service, so that those of a slow registry or of a
// service that is away do not keep decisions from other requests. Owned by one worker.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/engine/held_requests.h"

namespace ringside {

class WaitingTable : public HeldRequests {
 public:
  WaitingTable(uint32_t capacity, uint64_t max_bytes) : HeldRequests(TimerKind::kWaiting, capacity, max_bytes) {}

  /// Whether it leaves room for the requests to other services, too.
  bool has_service_share(const std::string& service, uint32_t requests, size_t bytes) const;
  /// Adds a request (there must be room) behind those that wait at the same cluster; the caller fills in what is not named here.
  uint32_t wait(uint32_t cluster, const std::string& service, Handle downstream, std::vector<uint8_t> frame);
  /// Adds a piece of its body to a request. False: over the bound on bytes; nothing was added.
  bool append(uint32_t waiting, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes);
  /// Takes one request out. The caller has disarmed its timer, and that of the cluster if `is_last`.
  void remove(uint32_t waiting);
  /// Whether it is the only one at its cluster.
  bool is_last(uint32_t waiting) const { return at(waiting).previous == kNoHeld && at(waiting).next == kNoHeld; }

  /// Those at a cluster, in order of arrival.
  std::vector<uint32_t> at_cluster(uint32_t cluster) const;
  /// When the cluster's instances are tried again; null where nobody waits.
  TimerNode* retry_timer(uint32_t cluster);
  const std::string& service_of(uint32_t waiting) const { return clusters_.at(at(waiting).queue).service; }

 private:
  struct Waiters {
    std::string service;
    HeldQueue requests;
    TimerNode retry;
  };
  std::unordered_map<uint32_t, Waiters> clusters_;
  std::unordered_map<std::string, HeldShare> service_shares_;
};

}  // namespace ringside
