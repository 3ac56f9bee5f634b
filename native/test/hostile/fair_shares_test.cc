// One link takes all it can get of what all links share; the next one still finds room. And a link is not closed for what
// a third party sends its way.
#include <gtest/gtest.h>

#include "native/engine/fair_share.h"
#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

TEST(FairShares, ATableIsNeverTakenWholeByOneAndNeverEmptyForNobody) {
  constexpr uint64_t kCapacity = 100;
  const auto take_in_turn = [&](std::vector<uint64_t> own) {
    uint64_t free = kCapacity;
    for (bool taken = true; taken;) {
      taken = false;
      for (uint64_t& mine : own) {
        if (!may_take(mine, 1, free, kCapacity)) continue;
        mine++;
        free--;
        taken = true;
      }
    }
    return free;
  };
  for (size_t greedy = 1; greedy <= 8; greedy++) {
    const uint64_t free = take_in_turn(std::vector<uint64_t>(greedy));
    EXPECT_GT(free, 0u) << greedy;
    EXPECT_LE(free, kCapacity / 5) << greedy;
  }
  // One after the other, each until it gets no more: what is left shrinks to a fifth each time.
  uint64_t free = kCapacity;
  for (int greedy = 0; greedy < 3; greedy++) {
    for (uint64_t own = 0; may_take(own, 1, free, kCapacity); own++) free--;
    EXPECT_GT(free, 0u) << greedy;
  }
  EXPECT_FALSE(may_take(0, 1, 0, kCapacity));
  EXPECT_FALSE(may_take(0, 3, 2, kCapacity));
  EXPECT_TRUE(may_take(1, 1, 1, 2)) << "too small to be shared";
}

TEST(FairShares, AnAppThatLeavesItsCallsOpenLeavesPendingsToOthers) {
  EngineOptions options;
  options.max_pending = 64;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  Wire greedy = mesh.box.app("greedy");
  for (uint64_t id = 1; id <= 80; id++) greedy.send(request(id, {.service = "s"}));
  mesh.box.turn();
  greedy.receive();
  EXPECT_EQ(mesh.box.engine.counters().refused_pending_full, 80u - mesh.box.stats().limits["pending"].first);
  EXPECT_GT(mesh.box.engine.counters().refused_pending_full, 20u);
  mesh.call(7, "honest");
  for (WireFrame frame = server.take();; frame = server.take()) {
    if (frame.body != "honest") continue;
    server.send(response(frame.id(), "served"));
    break;
  }
  EXPECT_EQ(mesh.answer().body, "served");
}

TEST(FairShares, AnAppWhoseQuestionsWaitLeavesRoomForOthers) {
  EngineOptions options;
  options.max_parked = 64;
  Mesh mesh(std::move(options));
  Wire greedy = mesh.box.app("greedy");
  for (uint64_t id = 1; id <= 80; id++) greedy.send(request(id, {.service = "slow-to-decide"}));
  mesh.box.turn();
  EXPECT_GT(mesh.box.engine.counters().refused_parked_full, 20u);
  const size_t asked = mesh.box.events.upcalls.size();
  mesh.caller.send(request(1, {.service = "another"}));
  mesh.box.turn();
  EXPECT_EQ(mesh.box.events.upcalls.size(), asked + 1);
  EXPECT_FALSE(mesh.caller.has_frame());
}

TEST(FairShares, CreditByTheByteReachesTheCallerInSteps) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  WireFrame first = request(5, {.service = "s"});
  first.fixed.flags = kFlagMore;
  first.fixed.value = 400'000;
  first.body = std::string(60'000, 'b');
  mesh.caller.send(first);
  mesh.box.turn();
  const uint64_t id = server.take().id();
  WireFrame credit = control(FrameType::kCredit, id);
  credit.fixed.value = 1;
  std::string credits;
  for (int i = 0; i < 500; i++) credits += credit.bytes();
  for (int i = 0; i < 80; i++) {
    server.send_bytes(credits);
    mesh.box.turn();
  }
  mesh.box.turn();
  uint32_t granted = 0;
  uint32_t frames = 0;
  for (mesh.caller.receive(); mesh.caller.has_frame(); frames++) granted += mesh.caller.take().fixed.value;
  EXPECT_EQ(granted, 2u * 16 * 1024);
  EXPECT_EQ(frames, 2u);
}

TEST(FairShares, GoAwaysWithoutEndCloseTheirOwnLink) {
  Mesh mesh;
  Wire hostile = mesh.box.app("hostile");
  for (int i = 0; i < 1100; i++) {
    hostile.send(control(FrameType::kGoAway, 1));
    if (i % 200 == 199) {
      mesh.box.turn();
      hostile.receive();
    }
  }
  mesh.box.turn();
  EXPECT_TRUE(hostile.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().protocol_violations, 1u);
  EXPECT_FALSE(mesh.caller.has_ended());
}

}  // namespace
}  // namespace ringside
