// The table of links: each side has a share, the agent itself and applications on its socket have a reserve, and connections that say nothing
// go first.
#include "native/engine/link_shares.h"

#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

constexpr LinkSide kSides[] = {LinkSide::kSocketApps, LinkSide::kTcpApps, LinkSide::kPeers, LinkSide::kOwn};

uint32_t take_all(LinkShares* shares, LinkSide side) {
  uint32_t taken = 0;
  for (; shares->has_room(side); taken++) shares->take(side);
  return taken;
}

TEST(LinkShares, WhoeverTakesAllItCanLeavesRoomForEverySide) {
  for (const uint32_t capacity : {64u, 100u, 4096u}) {
    for (const LinkSide greedy : kSides) {
      for (const LinkSide victim : kSides) {
        LinkShares shares(capacity);
        const uint32_t taken = take_all(&shares, greedy);
        EXPECT_LE(taken, capacity * 4 / 5);
        EXPECT_GE(taken, greedy == LinkSide::kTcpApps ? capacity * 2 / 5 : capacity * 3 / 5);
        if (victim == greedy) continue;
        EXPECT_TRUE(shares.has_room(victim)) << capacity;
      }
    }
  }
}

TEST(LinkShares, TheAgentAndAppsOnItsSocketHaveAReserveWhenAllOthersTakeWhatTheyCan) {
  for (const LinkSide reserved : {LinkSide::kOwn, LinkSide::kSocketApps}) {
    LinkShares shares(1024);
    for (bool more = true; more;) {
      more = false;
      for (const LinkSide side : kSides) {
        if (side != reserved) more |= take_all(&shares, side) > 0;
      }
    }
    EXPECT_GE(take_all(&shares, reserved), 1024u / 16);
  }
}

TEST(LinkShares, ASmallTableIsNotShared) {
  LinkShares shares(63);
  EXPECT_EQ(take_all(&shares, LinkSide::kTcpApps), 63u);
}

TEST(LinkShares, WhatIsGivenBackCanBeTakenAgain) {
  LinkShares shares(256);
  const uint32_t taken = take_all(&shares, LinkSide::kPeers);
  EXPECT_FALSE(shares.has_room(LinkSide::kPeers));
  for (uint32_t i = 0; i < taken; i++) shares.give_back(LinkSide::kPeers);
  EXPECT_EQ(take_all(&shares, LinkSide::kPeers), taken);
}

EngineOptions small_table() {
  EngineOptions options;
  options.max_links = 64;
  options.open_timeout_ms = 60'000;
  return options;
}

TEST(LinkShares, ConnectionsOverTcpLeaveRoomForAppsOnTheSocketAndForTheAgentsOwnLinks) {
  EngineBox box(small_table());
  EngineBox far;
  const uint16_t far_port = far.listen_tcp_port(LinkRole::kPeer);
  box.listen_unix_socket();
  const uint16_t loopback = box.listen_tcp_port(LinkRole::kApp);
  const uint16_t inbound = box.listen_tcp_port(LinkRole::kPeer, 3);
  std::vector<Wire> greedy;
  for (const uint16_t port : {loopback, inbound}) {
    for (int i = 0; i < 80; i++) {
      greedy.push_back(Wire::tcp(port));
      greedy.back().send(hello("greedy"));
    }
    box.turn(4);
  }
  Wire refused = Wire::tcp(loopback);
  box.turn(2);
  EXPECT_NE(refused.take().text().find("limits.links"), std::string::npos);
  Wire victim = box.app("victim");
  box.apply(set_cluster(1, {remote_endpoint(1, far_port)}), set_service("s"), set_flow("s", 1));
  victim.send(request(1, {.service = "s"}));
  box.turn_until([&] {
    far.turn();
    return !far.events.upcalls.empty();
  });
  EXPECT_FALSE(victim.has_frame());
}

TEST(LinkShares, TheConnectionThatSaidNothingForLongestGoesFirst) {
  EngineBox box(small_table());
  const uint16_t loopback = box.listen_tcp_port(LinkRole::kApp);
  std::vector<Wire> silent;
  for (int i = 0; i < 80; i++) silent.push_back(Wire::tcp(loopback));
  box.turn(2);
  Wire early = Wire::tcp(loopback);
  box.turn(2);
  EXPECT_TRUE(early.has_ended()) << "those before it may still say hello";
  box.advance_ms(100);
  Wire victim = Wire::tcp(loopback);
  box.open(victim, "victim");
  EXPECT_TRUE(silent.front().has_ended());
  EXPECT_NE(silent.front().take().text().find("silent"), std::string::npos);
  EXPECT_FALSE(silent[1].has_ended());
  EXPECT_EQ(box.engine.counters().links_crowded_out, 1u);
  // One whose hello has come and was not read yet is not silent.
  silent[1].send(hello("slow"));
  Wire next = Wire::tcp(loopback);
  box.open(next, "next");
  EXPECT_EQ(silent[1].take().code(), Code::kOk);
  EXPECT_TRUE(silent[2].has_ended());
}

TEST(LinkShares, SilentConnectionsOfTheSameUserOrAddressMakeRoomWithinItsBound) {
  EngineOptions options;
  options.max_links_per_uid = 3;
  options.max_links_per_address = 3;
  options.open_timeout_ms = 60'000;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  const uint16_t inbound = box.listen_tcp_port(LinkRole::kPeer);
  std::vector<Wire> silent;
  for (int i = 0; i < 3; i++) silent.push_back(Wire::unix_socket(box.path()));
  for (int i = 0; i < 3; i++) silent.push_back(Wire::tcp(inbound));
  box.turn(2);
  box.advance_ms(100);
  Wire app = box.app("app");
  EXPECT_TRUE(silent[0].has_ended());
  Wire peer = Wire::tcp(inbound);
  box.open(peer, "peer");
  EXPECT_TRUE(silent[3].has_ended());
  for (const int kept : {1, 2, 4, 5}) EXPECT_FALSE(silent[static_cast<size_t>(kept)].has_ended()) << kept;
}

TEST(LinkShares, WhatAUserOpensOverTcpLeavesRoomForHisAppsOnTheSocket) {
  EngineOptions options;
  options.max_links_per_uid = 64;
  options.loopback_any_uid = true;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  const uint16_t loopback = box.listen_tcp_port(LinkRole::kApp);
  std::vector<Wire> greedy;
  for (int i = 0; i < 70; i++) {
    greedy.push_back(Wire::tcp(loopback));
    greedy.back().send(hello("greedy"));
  }
  box.turn_until([&] { return box.engine.counters().links_refused == 70 - 32; });
  EXPECT_NE(greedy.back().take().text().find("limits.linksPerUid"), std::string::npos);
  Wire victim = box.app("victim");
  EXPECT_TRUE(victim.valid());
}

}  // namespace
}  // namespace ringside
