// What senders towards one link hold, and that a greedy one leaves room for the others: the accounts alone, then an engine whose server does not
// read.
#include "native/engine/outbound_shares.h"

#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"
#include "native/test/engine/handover.h"

namespace ringside {
namespace {

using namespace testing;

constexpr Sender kGreedy{1}, kModest{2};

TEST(OutboundShares, WhoTakesAllItCanGetStopsAtFourFifths) {
  OutboundShares shares;
  uint64_t position = 0;
  while (shares.may_queue(kGreedy, 100, 100'000)) shares.queued(kGreedy, 100, position += 100);
  EXPECT_NEAR(static_cast<double>(position), 80'000, 500);
  EXPECT_TRUE(shares.may_queue(kModest, 10'000, 100'000));
}

TEST(OutboundShares, RoomComesBackAsTheQueueMoves) {
  OutboundShares shares;
  for (uint64_t end = 10'000; end <= 80'000; end += 10'000) shares.queued(kGreedy, 10'000, end);
  shares.left(39'999);
  EXPECT_FALSE(shares.may_queue(kGreedy, 40'000, 100'000));
  shares.left(40'000);
  EXPECT_TRUE(shares.may_queue(kGreedy, 40'000, 100'000));
  shares.left(80'000);
  EXPECT_FALSE(shares.waiting());
  EXPECT_TRUE(shares.may_queue(kGreedy, 100'000, 100'000)) << "nobody else holds anything";
}

TEST(OutboundShares, ABodyInPiecesKeepsItsRoomUntilItsLastByteHasLeft) {
  OutboundShares shares;
  while (shares.may_stream(kGreedy, 10)) shares.begin_stream(kGreedy);
  EXPECT_EQ(shares.streams(), 8u);
  EXPECT_TRUE(shares.may_stream(kModest, 10));
  for (int i = 0; i < 8; i++) shares.end_stream_at(kGreedy, 1'000);
  EXPECT_EQ(shares.streams(), 8u);
  EXPECT_FALSE(shares.may_stream(kGreedy, 10));
  shares.left(1'000);
  EXPECT_EQ(shares.streams(), 0u);
  EXPECT_TRUE(shares.may_stream(kGreedy, 10));
}

TEST(OutboundShares, WhatMustBeTakenTakesNobodysRoom) {
  OutboundShares shares;
  shares.queued_exempt(5'000, 5'000);
  EXPECT_EQ(shares.exempt_bytes(), 5'000u);
  EXPECT_TRUE(shares.may_queue(kModest, 1'000, 1'000));
  shares.left(5'000);
  EXPECT_EQ(shares.exempt_bytes(), 0u);
}

TEST(OutboundShares, OneAppBehindAnAgentStopsBeforeItsLinkDoes) {
  constexpr Sender kGreedyThere{1, 11}, kModestThere{1, 12};
  OutboundShares shares;
  uint64_t position = 0;
  while (shares.may_queue(kGreedyThere, 100, 100'000)) shares.queued(kGreedyThere, 100, position += 100);
  EXPECT_NEAR(static_cast<double>(position), 66'667, 500);
  EXPECT_TRUE(shares.may_queue(kModestThere, 10'000, 100'000));
  while (shares.may_stream(kGreedyThere, 16)) shares.begin_stream(kGreedyThere);
  EXPECT_EQ(shares.streams(), 11u);
  EXPECT_TRUE(shares.may_stream(kModestThere, 16));
  // Names cost nothing: together they are still one link.
  for (uint32_t app = 13; app < 10'000; app++) {
    const Sender invented{1, app};
    if (shares.may_queue(invented, 100, 100'000)) shares.queued(invented, 100, position += 100);
  }
  EXPECT_LT(position, 81'000u);
  EXPECT_TRUE(shares.may_queue(kModest, 10'000, 100'000)) << "of another link";
  shares.left(position);
  EXPECT_FALSE(shares.waiting());
  EXPECT_TRUE(shares.may_queue(kGreedyThere, 100'000, 100'000));
}

WireFrame piece(uint64_t id, size_t bytes, bool more) {
  WireFrame frame = control(FrameType::kChunk, id);
  frame.fixed.flags = more ? kFlagMore : 0;
  frame.body = std::string(bytes, 'b');
  return frame;
}

/// A server that does not read, a caller that wants everything, and one that wants little.
struct Crowd : Mesh {
  static constexpr uint64_t kQueueBytes = 1 << 20;
  Wire server_wire = server("server");
  Wire modest = box.app("modest");
  uint64_t last_id = 0;
  uint64_t refused = 0;

  explicit Crowd(uint32_t max_streams = 16) : Mesh(bounded(max_streams)) { serve_by({"server"}); }
  static EngineOptions bounded(uint32_t max_streams) {
    EngineOptions options;
    options.max_outbound_bytes = kQueueBytes;
    options.max_streams_per_link = max_streams;
    return options;
  }

  uint64_t refusals() {
    caller.receive();
    for (; !caller.frames.empty(); caller.frames.pop_front()) {
      if (caller.frames.front().fixed.type == FrameType::kResponse && caller.frames.front().code() == Code::kResourceExhausted) refused++;
    }
    return refused;
  }
  /// Until a few in a row were refused, whatever their size.
  void flood(size_t body_bytes) {
    for (const uint64_t enough = refusals() + 20; refusals() < enough;) call(++last_id, std::string(body_bytes, 'x'));
  }
  void cancel_all() {
    for (uint64_t id = 1; id <= last_id; id++) {
      caller.send(control(FrameType::kCancel, id));
      if (id % 64 == 0 || id == last_id) box.turn();
    }
  }
  /// Bodies in pieces, each as long as its window allows; `whole` ones end with that.
  void stream_flood(bool whole) {
    const uint32_t bytes = whole ? kStreamWindowBytes : 4 * kStreamWindowBytes;
    for (const uint64_t enough = refusals() + 20; refusals() < enough;) {
      WireFrame first = request(++last_id, {.service = "s"}, std::string(kMaxFrameBodyBytes, 'x'));
      first.fixed.flags = kFlagMore;
      first.fixed.value = bytes;
      caller.send(first);
      box.turn();
      for (int i = 2; i <= 4; i++) {
        caller.send(piece(last_id, kMaxFrameBodyBytes, !whole || i < 4));
        box.turn();
      }
    }
  }
  void expect_room_for_the_modest() {
    for (uint64_t id = 1; id <= 10; id++) modest.send(request(id, {.service = "s"}, std::string(1'000, 'm')));
    WireFrame first = request(11, {.service = "s"}, std::string(10'000, 'm'));
    first.fixed.flags = kFlagMore;
    first.fixed.value = 20'000;
    modest.send(first);
    modest.send(piece(11, 10'000, false));
    box.turn(2);
    EXPECT_FALSE(modest.has_frame()) << modest.take().text();
    // It reads again: all of it arrives.
    uint64_t arrived_bytes = 0;
    box.turn_until([&] {
      server_wire.receive();
      for (; !server_wire.frames.empty(); server_wire.frames.pop_front()) {
        const std::string& body = server_wire.frames.front().body;
        if (!body.empty() && (body[0] == 'm' || (body[0] == 'b' && body.size() == 10'000))) arrived_bytes += body.size();
      }
      return arrived_bytes == 30'000;
    });
    EXPECT_EQ(box.stats().limits["outboundBytesPerLink"].first, 0u);
    EXPECT_TRUE(box.events.downs.empty());
  }
};

TEST(OutboundShares, AFloodFromOneAppBehindAnAgentLeavesRoomForOthersThere) {
  Crowd crowd;
  Wire agent = Wire::tcp(crowd.box.listen_tcp_port(LinkRole::kPeer));
  crowd.box.open(agent, "agent");
  crowd.box.apply(set_service("s", Direction::kInbound), set_flow("s", 1, Direction::kInbound));
  uint64_t id = 0;
  const auto send = [&](const char* app, size_t body_bytes) {
    agent.send(request(++id, {.service = "s", .source_app = app}, std::string(body_bytes, 'x')));
    crowd.box.turn(2);
  };
  while (!agent.has_frame()) send("greedy", 30'000);
  EXPECT_EQ(agent.take().code(), Code::kResourceExhausted);
  for (int refused = 0; refused < 20; send("greedy", 10'000)) {
    if (!agent.has_frame()) continue;
    agent.take();
    refused++;
  }
  agent.receive();
  agent.frames.clear();
  for (int i = 0; i < 10; i++) send("modest", 1'000);
  EXPECT_FALSE(agent.has_frame());
  crowd.expect_room_for_the_modest();
}

TEST(OutboundShares, AFloodOfRequestsLeavesRoomForOthers) {
  Crowd crowd;
  crowd.flood(30'000);
  crowd.flood(0);
  crowd.expect_room_for_the_modest();
}

TEST(OutboundShares, GivingUpDoesNotMakeRoomForMore) {
  Crowd crowd;
  crowd.flood(30'000);
  for (int i = 0; i < 3; i++) {
    crowd.cancel_all();
    crowd.flood(0);
  }
  crowd.expect_room_for_the_modest();
}

TEST(OutboundShares, OneWaysCountAsWell) {
  Crowd crowd;
  for (int i = 0; i < 200; i++) {
    WireFrame one_way = request(0, {.service = "s"}, std::string(30'000, 'x'));
    one_way.fixed.type = FrameType::kOneWay;
    crowd.caller.send(one_way);
    crowd.box.turn();
  }
  EXPECT_GT(crowd.box.engine.counters().one_ways_dropped, 0u);
  crowd.expect_room_for_the_modest();
}

TEST(OutboundShares, AFloodOfLongBodiesLeavesRoomForOthers) {
  for (const bool whole : {false, true}) {
    Crowd crowd;
    crowd.stream_flood(whole);
    crowd.flood(1'000);
    crowd.expect_room_for_the_modest();
  }
}

TEST(OutboundShares, LongBodiesThatWereGivenUpKeepTheirRoomWhileTheyAreQueued) {
  Crowd crowd;
  uint64_t worst = 0;
  for (int i = 0; i < 4; i++) {
    crowd.stream_flood(false);
    crowd.cancel_all();
    worst = std::max(worst, crowd.box.stats().limits["outboundBytesPerLink"].first);
  }
  EXPECT_LE(worst, Crowd::kQueueBytes + 16 * kMaxQueuedStreamBytes);
  crowd.expect_room_for_the_modest();
}

TEST(OutboundShares, AnEngineThatTakesOverKnowsWhoFilledTheQueue) {
  EngineOptions options;
  options.max_outbound_bytes = 1 << 20;
  Handover world("s", options);
  world.new_options = options;
  Wire modest = world.old_one->app("modest");
  uint64_t id = 0;
  for (; !world.caller.has_frame(); world.old_one->turn()) world.call(++id, std::string(30'000, 'x'));
  EXPECT_EQ(world.caller.take().code(), Code::kResourceExhausted);
  world.take_over();
  for (int refused = 0; refused < 20; world.new_one->turn()) {
    world.call(++id, std::string(10'000, 'x'));
    world.new_one->turn();
    if (!world.caller.has_frame()) continue;
    EXPECT_EQ(world.caller.take().code(), Code::kResourceExhausted);
    refused++;
  }
  for (uint64_t i = 1; i <= 5; i++) modest.send(request(i, {.service = "s"}, std::string(1'000, 'm')));
  world.new_one->turn(2);
  EXPECT_FALSE(modest.has_frame());
}

}  // namespace
}  // namespace ringside
