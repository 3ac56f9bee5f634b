// Round after round somebody does what no honest application or agent would do, over a ring, the unix socket and both TCP ports.
// After every round an honest call that was under way is answered by its own server, bounds hold, and when the attacker has gone
// nothing of it is left. RINGSIDE_HOSTILE_ROUNDS and RINGSIDE_HOSTILE_SEED choose how long and which.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>

#include "native/test/fd/open_fds.h"
#include "native/test/hostile/hostile_peer.h"
#include "native/test/hostile/live_heap.h"
#include "native/test/hostile/mesh_under_attack.h"

namespace ringside::testing {
namespace {

constexpr uint64_t kRounds = 3000;
constexpr uint64_t kSeed = 20;
// What the small bounds add up to while attackers are there, and what may be left of them (grown vectors, sketches).
constexpr size_t kHeapUnderAttackBytes = 48 << 20;
constexpr size_t kHeapLeftBytes = 4 << 20;
constexpr size_t kMaxAttackers = 3;

// Bytes of a segment change while the agent reads them: racy on purpose, so not under the thread sanitizer.
void scribble_beside(HostilePeer* peer, MeshUnderAttack* mesh) {
#ifndef __SANITIZE_THREAD__
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    while (!stop.load(std::memory_order_relaxed)) peer->scribble_once();
  });
  mesh->turns(20);
  stop.store(true);
  scribbler.join();
#else
  peer->scribble_once();
  mesh->turns(20);
#endif
}

std::unique_ptr<HostilePeer> new_attacker(RandomSource* random, MeshUnderAttack* mesh) {
  auto peer = std::make_unique<HostilePeer>(random);
  const auto way = static_cast<HostilePeer::Way>(random->below(2) == 0 ? 0 : random->below(4));
  const bool on_unix = way == HostilePeer::Way::kShm || way == HostilePeer::Way::kUnix;
  const uint16_t port = way == HostilePeer::Way::kLoopback ? mesh->loopback_port() : mesh->inbound_port();
  EXPECT_TRUE(on_unix ? peer->connect_unix(mesh->unix_path()) : peer->connect_tcp(port));
  if (random->one_in(10)) {
    peer->send_garbage();
    return peer;
  }
  peer->say_hello("attacker", way == HostilePeer::Way::kShm ? kMinRingBytes : 0);
  mesh->turns(3);
  if (way == HostilePeer::Way::kShm) {
    EXPECT_TRUE(peer->take_welcome());
    mesh->turns(1);
  }
  return peer;
}

class AttackRounds : public ::testing::Test {
 protected:
  void expect_nothing_left(MeshUnderAttack* mesh, size_t heap_before, size_t fds_before) {
    // The calls of the attackers that the honest server still has end at their deadlines.
    for (int i = 0; i < 8; i++) {
      mesh->clock().advance_ms(10'000);
      mesh->turns(50);
    }
    const Usage left = mesh->usage();
    EXPECT_EQ(left.at("links"), 2u);
    EXPECT_EQ(left.at("pending"), 0u);
    EXPECT_EQ(left.at("parked"), 0u);
    EXPECT_EQ(left.at("parkedBytes"), 0u);
    EXPECT_LE(live_heap_bytes(), heap_before + kHeapLeftBytes);
    EXPECT_EQ(open_fds(), fds_before);
  }
};

TEST_F(AttackRounds, HonestCallsAreServedThroughout) {
  const uint64_t rounds = number_from("RINGSIDE_HOSTILE_ROUNDS", kRounds);
  const uint64_t seed = number_from("RINGSIDE_HOSTILE_SEED", kSeed);
  std::printf("%llu rounds, seed %llu\n", static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(seed));
  RandomSource random(seed);
  MeshUnderAttack mesh(MeshUnderAttack::small_bounds(), seed);
  std::vector<std::unique_ptr<HostilePeer>> attackers;
  const size_t heap_before = live_heap_bytes();
  const size_t fds_before = open_fds();
  size_t largest_heap = 0;

  for (uint64_t round = 0; round < rounds; round++) {
    while (attackers.empty() || (attackers.size() < kMaxAttackers && random.one_in(8))) {
      attackers.push_back(new_attacker(&random, &mesh));
    }
    const bool blocked = random.one_in(10);
    mesh.block_typescript(blocked);
    mesh.begin_call();
    std::string misdeeds;
    const uint64_t n = 1 + random.below(5);
    for (uint64_t i = 0; i < n; i++) {
      HostilePeer& attacker = *attackers[random.below(attackers.size())];
      attacker.misbehave(mesh.id_at_server());
      misdeeds += attacker.last_misdeed() + ", ";
      if (random.one_in(2)) mesh.turns(1 + static_cast<int>(random.below(3)));
      if (attacker.has_ring() && random.one_in(20)) {
        misdeeds += "scribble beside, ";
        scribble_beside(&attacker, &mesh);
      }
    }
    mesh.turns(2);
    const std::string problem = mesh.finish_call();
    const auto where = [&] {
      std::string in_use;
      for (const auto& [name, used] : mesh.usage()) in_use += " " + name + " " + std::to_string(used);
      return "round " + std::to_string(round) + " of seed " + std::to_string(seed) + ": " + misdeeds + "in use:" + in_use;
    };
    ASSERT_EQ(problem, "") << where();
    mesh.block_typescript(false);
    if (random.one_in(4)) {
      ASSERT_EQ(mesh.call_unknown(), "") << where();
    }
    if (random.one_in(4)) {
      ASSERT_EQ(mesh.call_trap(50), "") << where();
    }
    largest_heap = std::max(largest_heap, live_heap_bytes());
    ASSERT_LE(largest_heap, heap_before + kHeapUnderAttackBytes) << where();
    ASSERT_FALSE(HasFatalFailure()) << where();

    if (random.one_in(6)) mesh.clock().advance_ms(static_cast<int64_t>(random.below(4000)));
    if (random.one_in(4)) attackers.erase(attackers.begin() + static_cast<ptrdiff_t>(random.below(attackers.size())));
    if (round % 200 == 199) {
      attackers.clear();
      mesh.turns(10);
      expect_nothing_left(&mesh, heap_before, fds_before);
      ASSERT_FALSE(HasFailure()) << where();
    }
  }
  attackers.clear();
  mesh.turns(10);
  expect_nothing_left(&mesh, heap_before, fds_before);

  const EngineCounters& counters = mesh.engine().counters();
  EXPECT_EQ(mesh.links_reported_without_reason(), 0u);
  EXPECT_GT(counters.protocol_violations, 0u);
  EXPECT_GT(counters.refused_miss_rate, 0u);
  EXPECT_GT(counters.refused_pending_full, 0u);
  EXPECT_GT(counters.refused_parked_full, 0u);
  std::printf("refused: pending %llu, parked %llu, outbound %llu, rate of misses %llu, streams %llu; stale: replies %llu, chunks %llu\n",
              static_cast<unsigned long long>(counters.refused_pending_full),
              static_cast<unsigned long long>(counters.refused_parked_full),
              static_cast<unsigned long long>(counters.refused_outbound_full),
              static_cast<unsigned long long>(counters.refused_miss_rate),
              static_cast<unsigned long long>(counters.refused_streams_full),
              static_cast<unsigned long long>(counters.stale_replies), static_cast<unsigned long long>(counters.stale_chunks));
  std::printf("heap at most %zu KiB over its begin; %llu violations; links ended because of:\n", (largest_heap - heap_before) / 1024,
              static_cast<unsigned long long>(counters.protocol_violations));
  for (const auto& [reason, count] : mesh.reasons()) {
    std::printf("%8llu  %s\n", static_cast<unsigned long long>(count), reason.c_str());
  }
}

}  // namespace
}  // namespace ringside::testing
