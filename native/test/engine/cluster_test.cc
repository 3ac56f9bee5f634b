// Snapshots of clusters come and go; what was learnt about an instance stays as long as somebody names it or a request runs.
#include "native/engine/cluster.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "native/test/engine/cluster_fixture.h"

namespace ringside {
namespace {

using testing::cluster_of;
using testing::CountingHooks;
using testing::local;
using testing::remote;

struct Fixture {
  CountingHooks hooks;
  ClusterTable table{100, &hooks};
  uint32_t slot(uint32_t cluster, size_t i) { return table.find(cluster)->instances.at(i); }
  Instance& instance(uint32_t cluster, size_t i) { return table.instance(slot(cluster, i)); }
};

TEST(Clusters, AnInstanceKeepsItsNumbersThroughASwap) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10), remote(11)})));
  f.instance(1, 1).requests = 5;
  f.instance(1, 1).latency_us = 7;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(11), remote(12)})));
  EXPECT_EQ(f.instance(1, 0).id, 11u);
  EXPECT_EQ(f.instance(1, 0).requests, 5u);
  EXPECT_EQ(f.instance(1, 0).latency_us, 7);
  EXPECT_EQ(f.hooks.held("10.0.0.1:10"), 0);
  EXPECT_EQ(f.hooks.held("10.0.0.1:11"), 1);
  EXPECT_EQ(f.hooks.held_in_all(), 2);
}

TEST(Clusters, AnInstanceInTwoClustersGoesWithTheSecond) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10)})));
  ASSERT_TRUE(f.table.set(cluster_of(2, {remote(10), remote(10)})));
  EXPECT_EQ(f.slot(1, 0), f.slot(2, 1));
  f.table.remove(1);
  EXPECT_EQ(f.hooks.held_in_all(), 1);
  f.table.remove(2);
  EXPECT_EQ(f.hooks.held_in_all(), 0);
  f.table.remove(2);
  EXPECT_EQ(f.table.find(2), nullptr);
}

TEST(Clusters, AnInstanceIsFreedWithItsLastRequest) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10)})));
  const uint32_t slot = f.slot(1, 0);
  f.table.instance(slot).in_flight = 2;
  f.table.remove(1);
  f.table.finish(slot);
  EXPECT_TRUE(f.table.instance(slot).live);
  EXPECT_EQ(f.hooks.held_in_all(), 1);
  f.table.finish(slot);
  EXPECT_FALSE(f.table.instance(slot).live);
  EXPECT_EQ(f.hooks.held_in_all(), 0);
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(20)})));
  EXPECT_EQ(f.slot(1, 0), slot) << "the slot is used again";
  EXPECT_EQ(f.instance(1, 0).requests, 0u);
}

TEST(Clusters, AnInstanceThatComesBackWhileRequestsRunIsTheSame) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10)})));
  const uint32_t slot = f.slot(1, 0);
  f.table.instance(slot).in_flight = 1;
  f.table.remove(1);
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10)})));
  EXPECT_EQ(f.slot(1, 0), slot);
  f.table.finish(slot);
  EXPECT_TRUE(f.table.instance(slot).live);
  EXPECT_EQ(f.hooks.held_in_all(), 1);
}

TEST(Clusters, AnInstanceFollowsItsAddressAndForgetsWhatItKnewOfTheOldOne) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10, "10.0.0.1:80")})));
  f.instance(1, 0).draining = true;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10, "10.0.0.1:80")})));
  EXPECT_TRUE(f.instance(1, 0).draining) << "the same place";
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10, "10.0.0.2:80")})));
  EXPECT_FALSE(f.instance(1, 0).draining);
  EXPECT_EQ(f.hooks.held("10.0.0.1:80"), 0);
  EXPECT_EQ(f.hooks.held("10.0.0.2:80"), 1);
  ASSERT_TRUE(f.table.set(cluster_of(1, {local(10, Handle{4, 2})})));
  EXPECT_TRUE(f.instance(1, 0).local);
  EXPECT_EQ(f.instance(1, 0).link, (Handle{4, 2}));
  EXPECT_EQ(f.hooks.held_in_all(), 0);
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10, "10.0.0.2:80")})));
  EXPECT_EQ(f.hooks.held_in_all(), 1);
  f.table.remove(1);
  EXPECT_EQ(f.hooks.held_in_all(), 0);
}

TEST(Clusters, AnAddressThatDoesNotParseIsLeftOut) {
  Fixture f;
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10, "!"), remote(11)})));
  ASSERT_EQ(f.table.find(1)->instances.size(), 1u);
  EXPECT_EQ(f.table.find(1)->weights.size(), 1u);
  EXPECT_EQ(f.instance(1, 0).id, 11u);
}

TEST(Clusters, TheNumberIsBoundedButAKnownOneCanBeReplaced) {
  CountingHooks hooks;
  ClusterTable table(2, &hooks);
  EXPECT_TRUE(table.set(cluster_of(1, {})));
  EXPECT_TRUE(table.set(cluster_of(2, {})));
  EXPECT_FALSE(table.set(cluster_of(3, {remote(1)})));
  EXPECT_EQ(hooks.held_in_all(), 0);
  EXPECT_TRUE(table.set(cluster_of(2, {remote(1)})));
  EXPECT_EQ(table.size(), 2u);
}

TEST(Clusters, DrainingMarksTheServicesInstancesOnly) {
  Fixture f;
  ClusterSpec other = cluster_of(2, {remote(20)});
  other.service = "t";
  ASSERT_TRUE(f.table.set(cluster_of(1, {remote(10), remote(11)})));
  ASSERT_TRUE(f.table.set(std::move(other)));
  f.table.drain("s", [](const Instance& i) { return i.id != 10; });
  EXPECT_FALSE(f.instance(1, 0).draining);
  EXPECT_TRUE(f.instance(1, 1).draining);
  EXPECT_FALSE(f.instance(2, 0).draining);
  f.table.drain("", [](const Instance&) { return true; });
  EXPECT_TRUE(f.instance(2, 0).draining);
}

TEST(Clusters, RandomSwapsKeepAcquiresAndReleasesBalanced) {
  std::mt19937 random(9);
  Fixture f;
  std::map<uint32_t, std::set<uint64_t>> model;
  std::map<uint32_t, std::pair<uint64_t, uint32_t>> in_flight;  // by slot: instance and number
  for (int i = 0; i < 20'000; i++) {
    const uint32_t id = random() % 6;
    switch (random() % 4) {
      case 0: {
        std::vector<EndpointSpec> endpoints;
        model[id].clear();
        for (uint64_t instance = 0; instance < 12; instance++) {
          if (random() % 3 != 0) continue;
          endpoints.push_back(remote(instance));
          model[id].insert(instance);
        }
        ASSERT_TRUE(f.table.set(cluster_of(id, std::move(endpoints))));
        break;
      }
      case 1:
        f.table.remove(id);
        model.erase(id);
        break;
      case 2:
        if (Cluster* cluster = f.table.find(id); cluster != nullptr && !cluster->instances.empty()) {
          const uint32_t slot = cluster->instances[random() % cluster->instances.size()];
          f.table.instance(slot).in_flight++;
          in_flight[slot].first = f.table.instance(slot).id;
          in_flight[slot].second++;
        }
        break;
      default:
        if (!in_flight.empty()) {
          const auto at = in_flight.begin();
          ASSERT_EQ(f.table.instance(at->first).id, at->second.first) << "freed under a request";
          f.table.finish(at->first);
          if (--at->second.second == 0) in_flight.erase(at);
        }
    }
    std::set<uint64_t> held;
    for (const auto& [cluster, instances] : model) held.insert(instances.begin(), instances.end());
    for (const auto& [slot, use] : in_flight) held.insert(use.first);
    ASSERT_EQ(f.hooks.held_in_all(), static_cast<int>(held.size())) << i;
    for (const uint64_t instance : held) ASSERT_EQ(f.hooks.held("10.0.0.1:" + std::to_string(instance)), 1);
  }
}

}  // namespace
}  // namespace ringside
