// Picking an endpoint of a cluster, in proportion to the weights where they differ. Each balancer looks at a bounded number of candidates, so that a pick takes the same time among ten
// endpoints and ten thousand; only when all candidates it tried are out does it walk the cluster once from a random place.
#pragma once

#include <cstdint>

#include "native/engine/cluster.h"
#include "native/engine/hash.h"

namespace ringside {

inline constexpr uint32_t kNoInstance = UINT32_MAX;

/// `usable(slot)` says whether an instance may take a request now. Returns the slot picked or kNoInstance.
template <typename Usable>
uint32_t pick(Cluster& cluster, const ClusterTable& table, Random& random, Usable usable) {
  const uint32_t n = static_cast<uint32_t>(cluster.instances.size());
  if (n == 0) return kNoInstance;
  constexpr uint32_t kTries = 4;
  if (cluster.balancer == Balancer::kRoundRobin || n == 1) {
    for (uint32_t i = 0; i < kTries && i < n; i++) {
      const uint32_t turn = cluster.turn++;
      const uint32_t slot = cluster.instances[cluster.shares.empty() ? turn % n : cluster.shares.in_turn(turn)];
      if (usable(slot)) return slot;
    }
  } else if (!cluster.shares.empty()) {
    // The same among two drawn by weight, as seen from their weights: an endpoint of twice the weight may be twice as busy. Two that are
    // idle are alike, so that weights hold at low load too.
    for (uint32_t i = 0; i < kTries; i++) {
      const uint32_t first = cluster.shares.at(random.next());
      uint32_t second = cluster.shares.at(random.next());
      if (second == first) second = (first + 1 + random.below(n - 1)) % n;
      const uint32_t a = cluster.instances[first];
      const uint32_t b = cluster.instances[second];
      const bool a_usable = usable(a);
      const bool b_usable = cluster.weights[second] > 0 && usable(b);
      if (a_usable && b_usable) {
        const uint64_t a_load = uint64_t{table.instance(a).in_flight} * cluster.weights[second];
        const uint64_t b_load = uint64_t{table.instance(b).in_flight} * cluster.weights[first];
        return b_load < a_load ? b : a;
      }
      if (a_usable) return a;
      if (b_usable) return b;
    }
  } else {
    // Power of two choices (Mitzenmacher): of two random endpoints the one with fewer requests in flight.
    for (uint32_t i = 0; i < kTries; i++) {
      const uint32_t first = random.below(n);
      uint32_t second = random.below(n - 1);
      if (second >= first) second++;
      const uint32_t a = cluster.instances[first];
      const uint32_t b = cluster.instances[second];
      const bool a_usable = usable(a);
      const bool b_usable = usable(b);
      if (a_usable && b_usable) return table.instance(b).in_flight < table.instance(a).in_flight ? b : a;
      if (a_usable) return a;
      if (b_usable) return b;
    }
  }
  const uint32_t start = random.below(n);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t slot = cluster.instances[(start + i) % n];
    if (usable(slot)) return slot;
  }
  return kNoInstance;
}

}  // namespace ringside
