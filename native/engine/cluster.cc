#include "native/engine/cluster.h"

#include <utility>

namespace ringside {

bool ClusterTable::set(ClusterSpec spec) {
  auto it = clusters_.find(spec.id);
  if (it == clusters_.end()) {
    if (clusters_.size() >= max_clusters_) return false;
    it = clusters_.emplace(spec.id, Cluster{}).first;
  }
  Cluster& cluster = it->second;
  // New ones first: an instance in both snapshots never drops to zero references in between.
  std::vector<uint32_t> instances;
  std::vector<uint32_t> weights;
  for (const EndpointSpec& endpoint : spec.endpoints) {
    const uint32_t slot = acquire_instance(endpoint);
    if (slot == UINT32_MAX) continue;
    instances.push_back(slot);
    weights.push_back(endpoint.weight);
  }
  std::swap(cluster.instances, instances);
  cluster.weights = std::move(weights);
  cluster.shares = WeightedShares::of(cluster.weights);
  cluster.id = spec.id;
  cluster.direction = spec.direction;
  cluster.balancer = spec.balancer;
  cluster.service = std::move(spec.service);
  cluster.group = std::move(spec.group);
  cluster.awaited = std::move(spec.awaited);
  for (const uint32_t slot : instances) release_instance(slot);
  return true;
}

void ClusterTable::remove(uint32_t id) {
  const auto it = clusters_.find(id);
  if (it == clusters_.end()) return;
  const std::vector<uint32_t> instances = std::move(it->second.instances);
  clusters_.erase(it);
  for (const uint32_t slot : instances) release_instance(slot);
}

void ClusterTable::finish(uint32_t slot) {
  Instance& instance = instances_[slot];
  if (instance.in_flight > 0) instance.in_flight--;
  free_if_unused(slot);
}

uint32_t ClusterTable::acquire_instance(const EndpointSpec& spec) {
  const auto it = by_id_.find(spec.instance_id);
  if (it != by_id_.end()) {
    if (!move_instance(it->second, spec)) return UINT32_MAX;
    instances_[it->second].references++;
    return it->second;
  }
  uint32_t upstream = UINT32_MAX;
  if (!spec.local) {
    upstream = hooks_->acquire_upstream(spec.address, spec.protocol);
    if (upstream == UINT32_MAX) return UINT32_MAX;
  }
  uint32_t slot;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else {
    slot = static_cast<uint32_t>(instances_.size());
    instances_.emplace_back();
  }
  Instance& instance = instances_[slot];
  instance = Instance{};
  instance.id = spec.instance_id;
  instance.references = 1;
  instance.live = true;
  instance.local = spec.local;
  instance.link = spec.link;
  instance.upstream = upstream;
  by_id_.emplace(spec.instance_id, slot);
  return slot;
}

/// An instance that is now reached elsewhere keeps its slot, but nothing that was learnt about the old place.
bool ClusterTable::move_instance(uint32_t slot, const EndpointSpec& spec) {
  const uint32_t upstream = spec.local ? UINT32_MAX : hooks_->acquire_upstream(spec.address, spec.protocol);
  if (!spec.local && upstream == UINT32_MAX) return false;
  Instance& instance = instances_[slot];
  const uint32_t before = instance.local ? UINT32_MAX : instance.upstream;
  const bool moved = instance.local != spec.local || before != upstream || (spec.local && !(instance.link == spec.link));
  if (moved) {
    instance.draining = false;
    instance.latency_us = 0;
    instance.local = spec.local;
    instance.link = spec.link;
    instance.upstream = upstream;
  }
  // Acquired anew above, so one of the two is given back in any case.
  if (before != UINT32_MAX) hooks_->release_upstream(before);
  return true;
}

void ClusterTable::release_instance(uint32_t slot) {
  instances_[slot].references--;
  free_if_unused(slot);
}

void ClusterTable::free_if_unused(uint32_t slot) {
  Instance& instance = instances_[slot];
  if (!instance.live || instance.references > 0 || instance.in_flight > 0) return;
  by_id_.erase(instance.id);
  instance.live = false;
  free_.push_back(slot);
  if (!instance.local) hooks_->release_upstream(instance.upstream);
}

}  // namespace ringside
