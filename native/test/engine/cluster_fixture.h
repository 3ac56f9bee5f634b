// Clusters without an engine: upstreams are counted instead of connected. For the tests and benchmarks of native/engine.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "native/engine/cluster.h"

namespace ringside::testing {

/// Gives every address a slot and counts who holds it. Addresses that begin with '!' do not parse.
class CountingHooks final : public InstanceHooks {
 public:
  uint32_t acquire_upstream(const std::string& address, LinkProtocol) override {
    if (address.starts_with('!')) return UINT32_MAX;
    for (uint32_t i = 0; i < addresses_.size(); i++) {
      if (addresses_[i] == address) {
        held_[i]++;
        return i;
      }
    }
    addresses_.push_back(address);
    held_.push_back(1);
    return static_cast<uint32_t>(addresses_.size() - 1);
  }
  void release_upstream(uint32_t upstream) override { held_.at(upstream)--; }

  int held(const std::string& address) const {
    for (size_t i = 0; i < addresses_.size(); i++) {
      if (addresses_[i] == address) return held_[i];
    }
    return 0;
  }
  int held_in_all() const {
    int sum = 0;
    for (const int n : held_) sum += n;
    return sum;
  }

 private:
  std::vector<std::string> addresses_;
  std::vector<int> held_;
};

inline EndpointSpec remote(uint64_t id, std::string address = {}) {
  EndpointSpec spec;
  spec.instance_id = id;
  spec.address = address.empty() ? "10.0.0.1:" + std::to_string(id) : std::move(address);
  return spec;
}

inline EndpointSpec local(uint64_t id, Handle link) {
  EndpointSpec spec;
  spec.instance_id = id;
  spec.local = true;
  spec.link = link;
  return spec;
}

inline ClusterSpec cluster_of(uint32_t id, std::vector<EndpointSpec> endpoints,
                              Balancer balancer = Balancer::kLeastRequest) {
  ClusterSpec spec;
  spec.id = id;
  spec.service = "s";
  spec.balancer = balancer;
  spec.endpoints = std::move(endpoints);
  return spec;
}

}  // namespace ringside::testing
