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

struct Fixture {
  CountingHooks hooks;
  ClusterTable table{10, &hooks};
  Random random{17};

  Cluster& cluster(uint32_t endpoints, Balancer balancer) {
    std::vector<EndpointSpec> specs;
    for (uint32_t i = 0; i < endpoints; i++) specs.push_back(remote(i, "10.0.0.1:80"));
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
  Fixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    EXPECT_EQ(f.one(f.cluster(0, balancer)), kNoInstance);
    for (const uint32_t n : {1u, 2u, 3u, 50u}) {
      EXPECT_EQ(f.one(f.cluster(n, balancer), [](uint32_t) { return false; }), kNoInstance) << n;
    }
  }
}

TEST(Pick, RoundRobinIsFair) {
  Fixture f;
  Cluster& cluster = f.cluster(7, Balancer::kRoundRobin);
  std::map<uint32_t, int> picked;
  for (int i = 0; i < 7 * 100; i++) picked[f.one(cluster)]++;
  ASSERT_EQ(picked.size(), 7u);
  for (const auto& [slot, n] : picked) EXPECT_EQ(n, 100) << slot;
}

TEST(Pick, RoundRobinGoesOnWhenItsTurnWraps) {
  Fixture f;
  Cluster& cluster = f.cluster(3, Balancer::kRoundRobin);
  cluster.turn = UINT32_MAX - 1;
  std::set<uint32_t> picked;
  for (int i = 0; i < 12; i++) picked.insert(f.one(cluster));
  EXPECT_EQ(picked.size(), 3u);
}

TEST(Pick, OneUsableAmongManyIsAlwaysFound) {
  Fixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    Cluster& cluster = f.cluster(1000, balancer);
    const uint32_t good = cluster.instances[617];
    for (int i = 0; i < 50; i++) EXPECT_EQ(f.one(cluster, [&](uint32_t slot) { return slot == good; }), good);
  }
}

TEST(Pick, UnusableOnesAreNeverPicked) {
  Fixture f;
  for (const Balancer balancer : {Balancer::kRoundRobin, Balancer::kLeastRequest}) {
    Cluster& cluster = f.cluster(10, balancer);
    for (int i = 0; i < 5000; i++) {
      const uint32_t slot = f.one(cluster, [](uint32_t s) { return s % 3 == 0; });
      ASSERT_EQ(slot % 3, 0u);
    }
  }
}

TEST(Pick, OfTwoTheLessBusyIsTaken) {
  Fixture f;
  Cluster& cluster = f.cluster(2, Balancer::kLeastRequest);
  f.table.instance(cluster.instances[0]).in_flight = 3;
  f.table.instance(cluster.instances[1]).in_flight = 2;
  for (int i = 0; i < 100; i++) EXPECT_EQ(f.one(cluster), cluster.instances[1]);
  f.table.instance(cluster.instances[1]).in_flight = 4;
  for (int i = 0; i < 100; i++) EXPECT_EQ(f.one(cluster), cluster.instances[0]);
}

TEST(Pick, TheBusiestOfManyIsPickedOnlyAgainstItself) {
  Fixture f;
  Cluster& cluster = f.cluster(20, Balancer::kLeastRequest);
  const uint32_t busiest = cluster.instances[5];
  f.table.instance(busiest).in_flight = 1;
  for (int i = 0; i < 20'000; i++) ASSERT_NE(f.one(cluster), busiest) << "two different ones are compared";
}

TEST(Pick, IdleInstancesGetTheSameShareWithinTenPercent) {
  Fixture f;
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
  Fixture f;
  constexpr uint32_t kInstances = 100;
  Cluster& cluster = f.cluster(kInstances, Balancer::kLeastRequest);
  for (uint32_t i = 0; i < 10 * kInstances; i++) f.table.instance(f.one(cluster)).in_flight++;
  uint32_t most = 0;
  for (const uint32_t slot : cluster.instances) most = std::max(most, f.table.instance(slot).in_flight);
  // Ten on average; random choice alone would reach twenty and more.
  EXPECT_LE(most, 14u);
}

}  // namespace
}  // namespace ringside
