// Requests that await replies, and the connections to an old server, are shared out: among links, among apps behind another agent, and among
// the apps here that call towards another agent. Beside whoever takes all it can get, an honest caller finds room.
#include <gtest/gtest.h>

#include "native/engine/fair_share.h"
#include "native/test/engine/engine_box.h"
#include "native/test/engine/old_peers.h"

namespace ringside {
namespace {

using namespace testing;

constexpr uint32_t kTable = 256;

EngineOptions with_small_table() {
  EngineOptions options;
  options.max_pending = kTable;
  options.max_timeout_ms = 600'000;
  return options;
}

TEST(PendingShares, HoweverManyAppsBehindALinkAreGreedyTheNextOneFindsRoom) {
  for (const size_t greedy : {1u, 2u, 5u, 20u}) {
    std::vector<uint64_t> own(greedy);
    uint64_t of_link = 0;
    for (bool taken = true; taken;) {
      taken = false;
      for (uint64_t& mine : own) {
        if (!may_take_within(mine, of_link, kTable - of_link, kTable)) continue;
        mine++;
        of_link++;
        taken = true;
      }
    }
    EXPECT_GE(of_link, kTable / 2) << greedy;
    EXPECT_TRUE(may_take_within(0, of_link, kTable - of_link, kTable)) << greedy;
    EXPECT_TRUE(may_take(of_link, 1, kTable - of_link, kTable)) << greedy;
  }
}

TEST(PendingShares, AnAppBehindAnotherAgentLeavesRoomForTheOthersBehindIt) {
  EngineBox box(with_small_table());
  box.listen_unix_socket();
  Wire server = box.app("server");
  box.apply(set_cluster(1, {local_endpoint(1, box.link_of("server"))}), set_service("s", Direction::kInbound),
            set_flow("s", 1, Direction::kInbound));
  const uint16_t inbound = box.listen_tcp_port(LinkRole::kPeer);
  Wire agent = Wire::tcp(inbound);
  box.open(agent, "agent");
  Wire other = Wire::tcp(inbound);
  box.open(other, "other");
  for (uint64_t id = 1; id <= 2 * kTable; id++) {
    agent.send(request(id, {.service = "s", .source_app = id % 2 == 0 ? "greedy" : "greedy too"}, "x", 600'000));
    if (id % 32 == 0) box.turn();
  }
  box.turn_until([&] { return box.engine.counters().requests == 2 * kTable; });
  ASSERT_TRUE(agent.has_frame());
  EXPECT_NE(agent.take().text().find("limits.pending"), std::string::npos);
  agent.receive();
  agent.frames.clear();
  agent.send(request(10'000, {.service = "s", .source_app = "honest"}, "honest", 600'000));
  other.send(request(10'001, {.service = "s", .source_app = "honest"}, "honest", 600'000));
  box.turn_until([&] { return box.engine.counters().requests == 2 * kTable + 2; });
  EXPECT_FALSE(agent.has_frame());
  EXPECT_FALSE(other.has_frame());
  server.receive();
  EXPECT_EQ(std::count_if(server.frames.begin(), server.frames.end(), [](const WireFrame& f) { return f.body == "honest"; }), 2);
  // What ended is counted no more.
  for (const WireFrame& frame : server.frames) server.send(response(frame.id()));
  box.turn_until([&] { return box.stats().limits["pending"].first == 0; });
  agent.receive();
  agent.frames.clear();
  for (uint64_t id = 20'000; id < 20'000 + kTable / 2; id++) agent.send(request(id, {.service = "s", .source_app = "greedy"}, "x", 600'000));
  box.turn_until([&] { return box.stats().limits["pending"].first == kTable / 2; });
}

TEST(PendingShares, AnAppThatInventsNamesLeavesRoomForItsNeighboursAtTheServersAgent) {
  EngineBox near(with_small_table());
  EngineBox far(with_small_table(), near.clock);
  near.listen_unix_socket();
  far.listen_unix_socket();
  Wire server = far.app("server");
  far.apply(set_cluster(1, {local_endpoint(1, far.link_of("server"))}), set_service("s", Direction::kInbound),
            set_flow("s", 1, Direction::kInbound));
  const uint16_t port = far.listen_tcp_port(LinkRole::kPeer);
  near.apply(set_cluster(1, {remote_endpoint(1, port)}), set_service("s"), set_flow("s", 1));
  Wire honest = near.app("honest");
  std::vector<Wire> greedy;
  for (int i = 0; i < 3; i++) greedy.push_back(near.app("greedy"));
  const auto turn = [&] {
    for (int i = 0; i < 3; i++) {
      near.turn();
      far.turn();
    }
  };
  for (uint64_t id = 1; id <= kTable; id++) {
    for (Wire& wire : greedy) {
      wire.send(request(id, {.service = "s", .source_app = "invented " + std::to_string(id)}, "x", 600'000));
    }
    if (id % 16 == 0) turn();
  }
  turn();
  EXPECT_GT(near.engine.counters().refused_pending_full, 0u);
  honest.send(request(1, {.service = "s", .source_app = "honest"}, "honest", 600'000));
  turn();
  EXPECT_FALSE(honest.has_frame()) << honest.take().text();
  server.receive();
  EXPECT_EQ(std::count_if(server.frames.begin(), server.frames.end(), [](const WireFrame& f) { return f.body == "honest"; }), 1);
}

TEST(PendingShares, ACallerWithSlowRequestsLeavesConnectionsToAnOldServerToOthers) {
  for (const bool behind_agents : {false, true}) {
    EngineOptions options;
    options.legacy_connections_per_instance = 16;
    EngineBox box(std::move(options));
    box.listen_unix_socket();
    OldServer old;
    const Direction direction = behind_agents ? Direction::kInbound : Direction::kOutbound;
    box.apply(set_cluster(1, {old.endpoint()}), set_service("s", direction), set_flow("s", 1, direction));
    const uint16_t inbound = box.listen_tcp_port(LinkRole::kPeer);
    Wire caller;
    if (behind_agents) {
      caller = Wire::tcp(inbound);
      box.open(caller, "agent");
    } else {
      caller = box.app("greedy");
    }
    for (uint64_t id = 1; id <= 40; id++) {
      caller.send(request(id, {.service = "s", .method = "m", .source_app = "greedy"}, "[1]", 60'000));
    }
    box.turn_until([&] {
      old.receive();
      return box.engine.counters().requests == 40 && old.connections.size() == box.engine.counters().connects;
    });
    EXPECT_LT(old.connections.size(), 16u);
    EXPECT_GT(old.connections.size(), 8u);
    Wire other;
    if (!behind_agents) other = box.app("honest");
    (behind_agents ? caller : other).send(request(1000, {.service = "s", .method = "honest", .source_app = "honest"}, "[1]", 60'000));
    const auto arrived = [&] {
      old.receive();
      return std::any_of(old.connections.begin(), old.connections.end(),
                         [](const Plain& connection) { return connection.got.find("honest") != std::string::npos; });
    };
    box.turn_until(arrived);
    EXPECT_TRUE(arrived());
  }
}

}  // namespace
}  // namespace ringside
