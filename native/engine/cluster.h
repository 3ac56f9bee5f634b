// Clusters (the endpoints of a service and group) and the instances behind them. A cluster is an immutable snapshot that TypeScript
// replaces whole; what the engine learns about an instance (requests in flight, latency, failures) lives in a slot keyed by the
// instance's id and survives the swap. Owned by one worker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/engine/flow_table.h"
#include "native/engine/handle.h"
#include "native/engine/weighted_shares.h"
#include "native/link/link.h"

namespace ringside {

enum class Balancer : uint8_t { kLeastRequest = 0, kRoundRobin = 1 };

/// Where an instance is reached: another agent's address, or a link to an app of this agent.
struct EndpointSpec {
  uint64_t instance_id = 0;
  uint32_t weight = 1;
  bool local = false;
  LinkProtocol protocol = LinkProtocol::kMesh;  // not for local ones
  std::string address;  // "127.0.0.1:15101", "[::1]:15101"; not for local ones
  Handle link;          // local ones
};

struct ClusterSpec {
  uint32_t id = 0;
  Direction direction = Direction::kOutbound;
  Balancer balancer = Balancer::kLeastRequest;
  std::string service;
  std::string group;
  std::string awaited;  // why nobody knows yet who serves it; empty: it is known
  std::vector<EndpointSpec> endpoints;
};

struct Instance {
  uint64_t id = 0;
  uint32_t references = 0;  // clusters that name it
  bool live = false;
  bool draining = false;  // its agent sent go-away: no new requests
  bool local = false;
  uint32_t upstream = UINT32_MAX;  // slot in Upstreams; not for local ones
  Handle link;                     // local ones
  uint32_t in_flight = 0;
  uint64_t requests = 0;
  uint64_t failures = 0;
  float latency_us = 0;  // moving average over about 16 replies
};

struct Cluster {
  uint32_t id = 0;
  Direction direction = Direction::kOutbound;
  Balancer balancer = Balancer::kLeastRequest;
  std::string service;
  std::string group;
  std::string awaited;              // as in the spec
  std::vector<uint32_t> instances;  // slots
  std::vector<uint32_t> weights;
  WeightedShares shares;  // of the weights
  uint32_t turn = 0;  // of round robin

  /// Whether its requests wait for the first list.
  bool is_awaited() const { return instances.empty() && !awaited.empty(); }
};

/// What the table needs from its owner when instances come and go.
class InstanceHooks {
 public:
  virtual ~InstanceHooks() = default;
  virtual uint32_t acquire_upstream(const std::string& address, LinkProtocol protocol) = 0;  // UINT32_MAX: not an address
  virtual void release_upstream(uint32_t upstream) = 0;
};

class ClusterTable {
 public:
  ClusterTable(uint32_t max_clusters, InstanceHooks* hooks) : max_clusters_(max_clusters), hooks_(hooks) {}

  /// False: the table is full.
  bool set(ClusterSpec spec);
  void remove(uint32_t id);
  Cluster* find(uint32_t id) {
    const auto it = clusters_.find(id);
    return it == clusters_.end() ? nullptr : &it->second;
  }
  Instance& instance(uint32_t slot) { return instances_[slot]; }
  const Instance& instance(uint32_t slot) const { return instances_[slot]; }
  /// One request less in flight; a slot that nobody names any more is freed with its last request.
  void finish(uint32_t slot);
  /// Marks instances of one service (empty: of all) for which `matches` holds as draining: they are picked no more.
  template <typename Matches>
  void drain(std::string_view service, Matches matches) {
    for (auto& [id, cluster] : clusters_) {
      if (!service.empty() && cluster.service != service) continue;
      for (const uint32_t slot : cluster.instances) {
        if (matches(instances_[slot])) instances_[slot].draining = true;
      }
    }
  }

  /// The slot of an instance that some cluster names, or UINT32_MAX.
  uint32_t find_instance(uint64_t id) const {
    const auto it = by_id_.find(id);
    return it == by_id_.end() ? UINT32_MAX : it->second;
  }
  template <typename Visit>
  void for_each_instance(Visit visit) const {
    for (const auto& [id, slot] : by_id_) visit(instances_[slot]);
  }
  uint32_t size() const { return static_cast<uint32_t>(clusters_.size()); }
  uint32_t capacity() const { return max_clusters_; }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [id, cluster] : clusters_) visit(cluster);
  }

 private:
  uint32_t acquire_instance(const EndpointSpec& spec);
  bool move_instance(uint32_t slot, const EndpointSpec& spec);
  void release_instance(uint32_t slot);
  void free_if_unused(uint32_t slot);

  uint32_t max_clusters_;
  InstanceHooks* hooks_;
  std::unordered_map<uint32_t, Cluster> clusters_;
  std::unordered_map<uint64_t, uint32_t> by_id_;
  std::vector<Instance> instances_;
  std::vector<uint32_t> free_;
};

}  // namespace ringside
