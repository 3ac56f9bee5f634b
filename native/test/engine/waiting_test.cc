// Requests that wait at their cluster: until the list of their service has been read, or, where they ask for it, until an instance can be
// reached. Each goes on once, in order, or is answered before its deadline with the reason and as not run.
#include "native/engine/waiting.h"

#include <gtest/gtest.h>

#include "native/test/engine/handover.h"

namespace ringside {
namespace {

using namespace testing;

SetCluster awaited(uint32_t id, const std::string& service = "s") {
  SetCluster command = set_cluster(id, {}, service);
  command.spec.awaited = "the registry has not answered yet";
  return command;
}

/// A mesh whose service `s` is watched, but its list has not been read.
struct Unread : Mesh {
  explicit Unread(EngineOptions options = {}) : Mesh(std::move(options)) {
    box.apply(awaited(1), set_service("s"), set_flow("s", 1));
  }
  void call_when_ready(uint64_t id, std::string body = {}, uint32_t timeout_ms = 0) {
    WireFrame frame = request(id, {.service = "s", .method = "m"}, std::move(body), timeout_ms);
    frame.fixed.flags = kFlagWaitForReady;
    caller.send(frame);
    box.turn();
  }
};

TEST(Waiting, AllThatComeBeforeTheFirstListWaitForItAndGoOnInOrder) {
  Unread mesh;
  Wire server = mesh.server("server");
  for (uint64_t id = 1; id <= 5; id++) mesh.call(id, std::to_string(id), 1000);
  EXPECT_TRUE(mesh.box.events.upcalls.empty());
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_EQ(mesh.box.stats().limits["waiting"].first, 5u);
  mesh.box.apply(awaited(1));
  EXPECT_FALSE(mesh.caller.has_frame()) << "told anew why, it is still not known";
  mesh.box.advance_ms(200);
  mesh.serve_by({"server"});
  for (uint64_t id = 1; id <= 5; id++) {
    const WireFrame frame = server.take();
    EXPECT_EQ(frame.body, std::to_string(id));
    EXPECT_EQ(frame.fixed.timeout_ms, 800u) << "what is left of it";
    server.send(response(frame.id(), "served"));
  }
  for (uint64_t id = 1; id <= 5; id++) EXPECT_EQ(mesh.answer().id(), id);
  EXPECT_EQ(mesh.box.stats().limits["waiting"].first, 0u);
  EXPECT_EQ(mesh.box.stats().limits["waitingBytes"].first, 0u);
}

TEST(Waiting, AListWithoutInstancesEndsTheWaitOfThoseThatDoNotAskForMore) {
  Unread mesh;
  mesh.call(1);
  mesh.call_when_ready(2);
  mesh.box.apply(set_cluster(1, {}));
  const WireFrame refused = mesh.answer();
  EXPECT_EQ(refused.id(), 1u);
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_TRUE(refused.not_run());
  EXPECT_FALSE(mesh.caller.has_frame());
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  EXPECT_EQ(server.take().fixed.flags & kFlagWaitForReady, kFlagWaitForReady) << "the flag travels on";
}

TEST(Waiting, TheDeadlineEndsItALittleEarlyWithTheReasonAndNotRun) {
  Unread mesh;
  mesh.call(1, {}, 1000);
  mesh.box.advance_ms(899);
  EXPECT_FALSE(mesh.caller.has_frame());
  mesh.box.advance_ms(1);
  WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(reply.not_run());
  EXPECT_NE(reply.text().find("the registry has not answered yet"), std::string::npos) << reply.text();

  mesh.box.apply(set_cluster(1, {}));
  mesh.call_when_ready(2, {}, 80);
  mesh.box.advance_ms(70);
  reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(reply.not_run());
  EXPECT_NE(reply.text().find("no instance of this service is registered"), std::string::npos) << reply.text();
}

TEST(Waiting, OneThatIsCancelledOrWhoseCallerIsGoneGoesNowhere) {
  Unread mesh;
  Wire server = mesh.server("server");
  Wire leaver = mesh.box.app("leaver");
  mesh.call(1, "cancelled");
  mesh.call(2, "stays");
  leaver.send(request(1, {.service = "s"}, "gone"));
  WireFrame one_way = request(0, {.service = "s"}, "gone");
  one_way.fixed.type = FrameType::kOneWay;
  leaver.send(one_way);
  mesh.box.turn();
  EXPECT_EQ(mesh.box.stats().limits["waiting"].first, 4u);
  mesh.caller.send(control(FrameType::kCancel, 1));
  leaver.close();
  mesh.box.turn_until([&] { return mesh.box.stats().limits["waiting"].first == 1u; });
  mesh.serve_by({"server"});
  EXPECT_EQ(server.take().body, "stays");
  EXPECT_FALSE(server.has_frame());
}

TEST(Waiting, ABodyInPiecesWaitsWhole) {
  Unread mesh;
  Wire server = mesh.server("server");
  WireFrame first = request(1, {.service = "s", .method = "m"}, std::string(1'000, 'a'));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 2'000;
  WireFrame rest = control(FrameType::kChunk, 1);
  rest.body = std::string(1'000, 'b');
  mesh.caller.send(first);
  mesh.box.turn();
  mesh.caller.send(rest);
  mesh.box.turn();
  mesh.serve_by({"server"});
  EXPECT_EQ(server.take().body, first.body);
  EXPECT_EQ(server.take().body, rest.body);
}

TEST(Waiting, OneWaitingServiceLeavesRoomForOthersAndTakesNothingOfDecisions) {
  EngineOptions options;
  options.max_waiting = 64;
  options.max_parked = 8;
  Unread mesh(std::move(options));
  mesh.box.apply(awaited(2, "t"), set_service("t"), set_flow("t", 2));
  Wire other = mesh.box.app("other");
  for (uint64_t id = 1; id <= 40; id++) mesh.caller.send(request(id, {.service = "s"}));
  for (uint64_t id = 1; id <= 40; id++) other.send(request(id, {.service = "s"}));
  mesh.box.turn();
  EXPECT_EQ(mesh.box.stats().limits["waiting"].first, 51u) << "the service's share, although each link has less";
  EXPECT_EQ(mesh.box.engine.counters().refused_waiting_full, 29u);
  const WireFrame refused = other.take();
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_TRUE(refused.not_run());
  EXPECT_NE(refused.text().find("limits.waiting"), std::string::npos) << refused.text();
  Wire third = mesh.box.app("third");
  third.send(request(1, {.service = "t"}));
  third.send(request(2, {.service = "unknown"}));
  mesh.box.turn();
  EXPECT_FALSE(third.has_frame());
  EXPECT_EQ(mesh.box.stats().limits["waiting"].first, 52u);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 1u) << "decisions have a table of their own";
}

TEST(Waiting, BytesAreBoundedToo) {
  EngineOptions options;
  options.max_waiting_bytes = 100'000;
  Unread mesh(std::move(options));
  mesh.call(1, std::string(60'000, 'x'));
  mesh.call(2, std::string(60'000, 'x'));
  const WireFrame refused = mesh.answer();
  EXPECT_EQ(refused.id(), 2u);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_NE(refused.text().find("limits.waitingBytes"), std::string::npos) << refused.text();
}

TEST(Waiting, AClusterThatIsForgottenAnswersThem) {
  Unread mesh;
  mesh.call(1);
  mesh.box.apply(RemoveService{Direction::kOutbound, "s"}, RemoveCluster{1});
  const WireFrame refused = mesh.answer();
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_TRUE(refused.not_run());
  EXPECT_NE(refused.text().find("limits.services"), std::string::npos) << refused.text();
}

TEST(Waiting, OneThatAsksToWaitIsAskedForAnewWhenItsServiceIsForgotten) {
  Unread mesh;
  Wire server = mesh.server("server");
  mesh.box.apply(set_cluster(1, {}));
  mesh.call_when_ready(1, "patient", 1000);
  mesh.box.advance_ms(300);
  mesh.box.apply(RemoveService{Direction::kOutbound, "s"}, RemoveCluster{1});
  ASSERT_EQ(mesh.box.events.upcalls.size(), 1u);
  mesh.box.apply(set_cluster(2, {local_endpoint(7, mesh.box.link_of("server"))}), set_service("s"), set_flow("s", 2),
                 resolve(mesh.box.events.upcalls.back().token));
  const WireFrame frame = server.take();
  EXPECT_EQ(frame.body, "patient");
  EXPECT_EQ(frame.fixed.timeout_ms, 700u) << "what is left of it";
  EXPECT_FALSE(mesh.caller.has_frame());
}

TEST(Waiting, WhereNoAddressAnswersOnlyThoseThatAskForItWaitAndAreTriedAgain) {
  uint16_t port = 0;
  {
    Result<Listening> reserved = listen_tcp("127.0.0.1", 0);
    ASSERT_TRUE(reserved);
    port = reserved.value().port;
  }
  Unread mesh;
  mesh.box.apply(set_cluster(1, {remote_endpoint(100, port)}));
  mesh.call_when_ready(1, "patient", 60'000);
  mesh.call(2, "hasty", 60'000);
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  const WireFrame refused = mesh.caller.take();
  EXPECT_EQ(refused.id(), 2u);
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  mesh.box.turn_until([&] { return mesh.box.stats().limits["waiting"].first == 1u; });
  for (int i = 0; i < 5; i++) {
    mesh.box.advance_ms(1000);
    mesh.box.turn_until([&] { return mesh.box.stats().limits["waiting"].first == 1u; });
  }
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_GT(mesh.box.engine.counters().connects, 1u);

  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  EXPECT_EQ(server.take().body, "patient");
}

TEST(Waiting, OnlyTheCallersOwnAgentLetsARequestWait) {
  EngineBox box;
  const uint16_t port = box.listen_tcp_port(LinkRole::kPeer);
  Wire peer = Wire::tcp(port);
  box.open(peer, "agent");
  SetCluster inbound = set_cluster(1, {});
  inbound.spec.direction = Direction::kInbound;
  box.apply(std::move(inbound), set_service("s", Direction::kInbound), set_flow("s", 1, Direction::kInbound));
  WireFrame frame = request(1, {.service = "s"});
  frame.fixed.flags = kFlagWaitForReady;
  peer.send(frame);
  box.turn_until([&] { return peer.has_frame(); });
  EXPECT_EQ(peer.take().code(), Code::kUnavailable);
}

TEST(Waiting, TheyMoveToTheNextProcessWithTheirDeadline) {
  Handover world;
  world.old_one->apply(awaited(1));
  world.call(51, "waits");
  world.until([&] { return world.old_one->stats().limits["waiting"].first == 1u; });
  world.clock.advance_ms(1000);
  world.serve_also = [](EngineBox& box) { box.apply(awaited(1)); };
  world.take_over();
  EXPECT_EQ(world.new_one->stats().limits["waiting"].first, 1u);
  world.serve_also = [](EngineBox&) {};
  world.serve(*world.new_one);
  const WireFrame frame = world.at(world.server);
  EXPECT_EQ(frame.body, "waits");
  EXPECT_EQ(frame.fixed.timeout_ms, 4000u);
}

}  // namespace
}  // namespace ringside
