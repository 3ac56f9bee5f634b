// The balancers: fairness, preference for the less busy, and what happens when endpoints are out.
#include "native/engine/pick.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "native/test/engine/cluster_fixture.h"

namespace ringside {
namespace {

using testing::cluster_of;
using testing::CountingHooks;
using testing::remote;

struct PickFixture {
  CountingHooks hooks;
  ClusterTable table{10, &hooks};
  Random random{17};

  Cluster& cluster(uint32_t endpoints, Balancer balancer) {
    std::vector<EndpointSpec> specs;
    for (uint32_t i = 0; i < endpoints; i++) specs.push_back(remote(i, "10.0.0.1:80"));
    EXPECT_TRUE(table.set(cluster_of(1, std::move(specs), balancer)));
    return *table.find(1);
  }
  Cluster& cluster(const std::vector<uint32_t>& weights, Balancer balancer) {
    std::vector<EndpointSpec> specs;
    for (const uint32_t weight : weights) {
      specs.push_back(remote(specs.size(), "10.0.0.1:80"));
      specs.back().weight = weight;
    }
    EXPECT_TRUE(table.set(cluster_of(1, std::move(specs), balancer)));
    return *table.find(1);
  }
  template <typename Usable>
  uint32_t one(Cluster& cluster, Usable usable) {
    return pick(cluster, table, random, usable);
  }
  uint32_t one(Cluster& cluster) {
    return one(cluster, [](uint32_t) { return true; });
  }
};

TEST(Pick, AnEmptyClusterAndOneWithoutUsableInstancesGiveNone) {
  PickFixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    EXPECT_EQ(f.one(f.cluster(0, balancer)), kNoInstance);
    for (const uint32_t n : {1u, 2u, 3u, 50u}) {
      EXPECT_EQ(f.one(f.cluster(n, balancer), [](uint32_t) { return false; }), kNoInstance) << n;
    }
  }
}

TEST(Pick, RoundRobinIsFair) {
  PickFixture f;
  Cluster& cluster = f.cluster(7, Balancer::kRoundRobin);
  std::map<uint32_t, int> picked;
  for (int i = 0; i < 7 * 100; i++) picked[f.one(cluster)]++;
  ASSERT_EQ(picked.size(), 7u);
  for (const auto& [slot, n] : picked) EXPECT_EQ(n, 100) << slot;
}

TEST(Pick, RoundRobinGoesOnWhenItsTurnWraps) {
  PickFixture f;
  Cluster& cluster = f.cluster(3, Balancer::kRoundRobin);
  cluster.turn = UINT32_MAX - 1;
  std::set<uint32_t> picked;
  for (int i = 0; i < 12; i++) picked.insert(f.one(cluster));
  EXPECT_EQ(picked.size(), 3u);
}

TEST(Pick, OneUsableAmongManyIsAlwaysFound) {
  PickFixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    Cluster& cluster = f.cluster(1000, balancer);
    const uint32_t good = cluster.instances[617];
    for (int i = 0; i < 50; i++) EXPECT_EQ(f.one(cluster, [&](uint32_t slot) { return slot == good; }), good);
  }
}

TEST(Pick, UnusableOnesAreNeverPicked) {
  PickFixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    Cluster& cluster = f.cluster(10, balancer);
    for (int i = 0; i < 5000; i++) {
      const uint32_t slot = f.one(cluster, [](uint32_t s) { return s % 3 == 0; });
      ASSERT_EQ(slot % 3, 0u);
    }
  }
}

TEST(Pick, OfTwoTheLessBusyIsTaken) {
  PickFixture f;
  Cluster& cluster = f.cluster(2, Balancer::kLeastRequest);
  f.table.instance(cluster.instances[0]).in_flight = 3;
  f.table.instance(cluster.instances[1]).in_flight = 2;
  for (int i = 0; i < 100; i++) EXPECT_EQ(f.one(cluster), cluster.instances[1]);
  f.table.instance(cluster.instances[1]).in_flight = 4;
  for (int i = 0; i < 100; i++) EXPECT_EQ(f.one(cluster), cluster.instances[0]);
}

TEST(Pick, TheBusiestOfManyIsPickedOnlyAgainstItself) {
  PickFixture f;
  Cluster& cluster = f.cluster(20, Balancer::kLeastRequest);
  const uint32_t busiest = cluster.instances[5];
  f.table.instance(busiest).in_flight = 1;
  for (int i = 0; i < 20'000; i++) ASSERT_NE(f.one(cluster), busiest) << "two different ones are compared";
}

TEST(Pick, IdleInstancesGetTheSameShareWithinTenPercent) {
  PickFixture f;
  constexpr int kPicks = 100'000;
  for (const uint32_t n : {2u, 3u, 10u}) {
    Cluster& cluster = f.cluster(n, Balancer::kLeastRequest);
    std::map<uint32_t, int> picked;
    for (int i = 0; i < kPicks; i++) picked[f.one(cluster)]++;
    ASSERT_EQ(picked.size(), n);
    for (const auto& [slot, count] : picked) EXPECT_NEAR(count * static_cast<double>(n) / kPicks, 1, 0.1) << n;
  }
}

TEST(Pick, TwoChoicesKeepTheSpreadOfOpenRequestsSmall) {
  PickFixture f;
  constexpr uint32_t kInstances = 100;
  Cluster& cluster = f.cluster(kInstances, Balancer::kLeastRequest);
  for (uint32_t i = 0; i < 10 * kInstances; i++) f.table.instance(f.one(cluster)).in_flight++;
  uint32_t most = 0;
  for (const uint32_t slot : cluster.instances) most = std::max(most, f.table.instance(slot).in_flight);
  // Ten on average; random choice alone would reach twenty and more.
  EXPECT_LE(most, 14u);
}

TEST(Pick, WeightsAreSharesOfIdleInstances) {
  PickFixture f;
  constexpr int kPicks = 200'000;
  const std::vector<std::vector<uint32_t>> cases{{1, 2, 7}, {100, 50}, {0, 5, 5}, {3, 3, 3, 1, 100, 3}, {1, 1'000'000}, {UINT32_MAX, UINT32_MAX - 1, 1}};
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    for (const std::vector<uint32_t>& weights : cases) {
      Cluster& cluster = f.cluster(weights, balancer);
      std::map<uint32_t, int> picked;
      for (int i = 0; i < kPicks; i++) picked[f.one(cluster)]++;
      double total = 0;
      for (const uint32_t weight : weights) total += weight;
      for (size_t i = 0; i < weights.size(); i++) {
        EXPECT_NEAR(picked[cluster.instances[i]] / static_cast<double>(kPicks), weights[i] / total, 0.01) << i;
      }
    }
  }
}

TEST(Pick, WeightedTurnsComeAtEvenDistances) {
  PickFixture f;
  Cluster& cluster = f.cluster({1, 2, 7}, Balancer::kRoundRobin);
  int since_light = 0;
  int longest = 0;
  for (int i = 0; i < 10'000; i++) {
    since_light = f.one(cluster) == cluster.instances[0] ? 0 : since_light + 1;
    longest = std::max(longest, since_light);
  }
  // Every tenth on average; by lot it would be absent for eighty turns at a time.
  EXPECT_LE(longest, 30);
}

TEST(Pick, OpenRequestsFollowTheWeights) {
  PickFixture f;
  Cluster& cluster = f.cluster({10, 10, 20, 60}, Balancer::kLeastRequest);
  for (int i = 0; i < 1000; i++) f.table.instance(f.one(cluster)).in_flight++;
  for (size_t i = 0; i < 4; i++) {
    EXPECT_NEAR(f.table.instance(cluster.instances[i]).in_flight, cluster.weights[i] * 10.0, 30) << i;
  }
  f.table.instance(cluster.instances[3]).in_flight = 10'000;
  for (int i = 0; i < 100; i++) EXPECT_NE(f.one(cluster), cluster.instances[3]) << "its weight does not help one that is slow";
}

TEST(Pick, AnInstanceOfNoWeightServesWhenNothingElseCan) {
  PickFixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    Cluster& cluster = f.cluster({0, 5}, balancer);
    const uint32_t idle = cluster.instances[0];
    for (int i = 0; i < 1000; i++) ASSERT_NE(f.one(cluster), idle);
    EXPECT_EQ(f.one(cluster, [&](uint32_t slot) { return slot == idle; }), idle);
  }
}

}  // namespace
}  // namespace ringside
