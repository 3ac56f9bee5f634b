// A request's way back: replies only from where the request went, deadlines, cancellations, and links that die at every
// stage. A status says that a request has not run only where that is certain.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

TEST(Replies, ComeBackInAnyOrderUnderTheIdsTheCallersChose) {
  Mesh mesh;
  Wire server = mesh.server("server");
  Wire other = mesh.box.app("other");
  mesh.serve_by({"server"});
  mesh.call(1, "a");
  other.send(request(1, {.service = "s"}, "b"));
  mesh.box.turn();
  mesh.call(UINT64_MAX, "c");
  std::vector<WireFrame> requests{server.take(), server.take(), server.take()};
  for (const size_t i : {2u, 0u, 1u}) server.send(response(requests[i].id(), requests[i].body));
  mesh.box.turn();
  WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.id(), UINT64_MAX);
  EXPECT_EQ(reply.body, "c");
  reply = mesh.caller.take();
  EXPECT_EQ(reply.id(), 1u);
  EXPECT_EQ(reply.body, "a");
  EXPECT_EQ(other.take().body, "b");
}

TEST(Replies, StatusFlagsHeaderAndBodyPassUntouched) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  WireFrame reply = response(server.take().id(), std::string(kMaxFrameBodyBytes, 'y'), Code::kAborted);
  reply.fixed.flags = kFlagNotRun | 0x80;
  reply.header = header_of({.attachments = {{"k", "v"}}});
  server.send(reply);
  const WireFrame got = mesh.answer();
  EXPECT_EQ(got.code(), Code::kAborted);
  EXPECT_EQ(got.fixed.flags, kFlagNotRun | 0x80);
  EXPECT_EQ(got.header, reply.header);
  EXPECT_EQ(got.body, reply.body);
}

TEST(Replies, OneFromTheWrongLinkIsAViolationAndTheRightOneStillCounts) {
  Mesh mesh;
  Wire server = mesh.server("server");
  Wire intruder = mesh.box.app("intruder");
  mesh.serve_by({"server"});
  mesh.call(1);
  const uint64_t id = server.take().id();
  intruder.send(response(id, "forged"));
  mesh.box.turn(2);
  EXPECT_TRUE(intruder.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().protocol_violations, 1u);
  EXPECT_FALSE(mesh.caller.has_frame());
  server.send(response(id, "true"));
  EXPECT_EQ(mesh.answer().body, "true");
}

TEST(Replies, OneToNothingIsCountedAndIgnored) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  server.send(response(12345));
  mesh.call(1);
  const uint64_t id = server.take().id();
  server.send(response(id, "first"));
  server.send(response(id, "second"));
  EXPECT_EQ(mesh.answer().body, "first");
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_FALSE(server.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().stale_replies, 2u);
}

TEST(Replies, ALateOneNeverAnswersTheSuccessorInItsSlot) {
  EngineOptions options;
  options.max_pending = 1;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1, "", 100);
  const uint64_t old = server.take().id();
  mesh.box.advance_ms(100);
  EXPECT_EQ(mesh.caller.take().code(), Code::kDeadlineExceeded);
  mesh.call(2);
  EXPECT_EQ(server.take().fixed.type, FrameType::kCancel);
  const uint64_t fresh = server.take().id();
  server.send(response(old, "late"));
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame());
  server.send(response(fresh, "in time"));
  EXPECT_EQ(mesh.answer().body, "in time");
}

TEST(Replies, ADeadlineAnswersTheCallerAndCancelsUpstream) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1, "", 250);
  const uint64_t id = server.take().id();
  mesh.box.advance_ms(249);
  EXPECT_FALSE(mesh.caller.has_frame());
  mesh.box.advance_ms(1);
  const WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.id(), 1u);
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(reply.not_run());
  const WireFrame cancel = server.take();
  EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
  EXPECT_EQ(cancel.id(), id);
  server.send(response(id));
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_EQ(mesh.box.engine.counters().stale_replies, 1u);
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Replies, ADeadlineAlsoEndsTheWaitForADecision) {
  Mesh mesh;
  mesh.call(1, "", 100);
  mesh.call(2, "", 200);
  mesh.box.advance_ms(100);
  const WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.id(), 1u);
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(mesh.box.stats().limits["parked"].first, 1u);
  mesh.box.advance_ms(100);
  EXPECT_EQ(mesh.caller.take().id(), 2u);
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  EXPECT_EQ(mesh.box.engine.counters().stale_decisions, 1u);
  EXPECT_EQ(mesh.box.stats().limits["parkedBytes"].first, 0u);
}

TEST(Replies, ACancellationGoesUpstreamAndIsNotAnswered) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  const uint64_t id = server.take().id();
  mesh.caller.send(control(FrameType::kCancel, 2));  // nobody knows it
  mesh.caller.send(control(FrameType::kCancel, 1));
  mesh.caller.send(control(FrameType::kCancel, 1));
  mesh.box.turn();
  const WireFrame cancel = server.take();
  EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
  EXPECT_EQ(cancel.id(), id);
  EXPECT_FALSE(server.has_frame());
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

/// A cancellation that says why, as a status.
WireFrame cancel_because(uint64_t id, Code why) {
  WireFrame frame = control(FrameType::kCancel, id);
  frame.fixed.status = static_cast<uint8_t>(why);
  return frame;
}

/// The requests of the one flow that ended with this status.
uint64_t ended_with(EngineBox& box, Code code) {
  const Stats stats = box.stats();
  return stats.flows.empty() ? 0 : stats.flows.front().by_status.at(static_cast<uint8_t>(code));
}

TEST(Replies, ACancellationIsCountedAsWhatItSaysAndSaysItToTheNextHop) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  uint64_t id = 1;
  for (const Code why : {Code::kDeadlineExceeded, Code::kCancelled, Code::kDataLoss}) {
    mesh.call(id, "", 60'000);
    ASSERT_EQ(server.take().fixed.type, FrameType::kRequest);
    mesh.caller.send(cancel_because(id++, why));
    mesh.box.turn();
    const WireFrame cancel = server.take();
    EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
    EXPECT_EQ(cancel.code(), why);
    EXPECT_EQ(ended_with(mesh.box, why), 1u);
  }
  // Only the deadline is one more that passed, a line in the log, and a failure of the instance.
  EXPECT_EQ(mesh.box.engine.counters().deadlines, 1u);
  ASSERT_EQ(mesh.box.events.records.size(), 1u);
  EXPECT_EQ(mesh.box.events.records[0].code, static_cast<uint8_t>(Code::kDeadlineExceeded));
  EXPECT_EQ(mesh.box.stats().clusters.at(0).endpoints.at(0).failures, 1u);
}

TEST(Replies, ACancellationOfAnOlderBuildIsADeadlineWhereOursHasAllButPassed) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1, "", 100);
  mesh.call(2, "", 100);
  mesh.box.advance_ms(90);
  mesh.caller.send(control(FrameType::kCancel, 1));
  mesh.box.turn();
  EXPECT_EQ(ended_with(mesh.box, Code::kCancelled), 1u);
  mesh.box.advance_ms(8);
  mesh.caller.send(control(FrameType::kCancel, 2));
  mesh.box.turn();
  EXPECT_EQ(ended_with(mesh.box, Code::kDeadlineExceeded), 1u);
  EXPECT_EQ(ended_with(mesh.box, Code::kCancelled), 1u);
}

TEST(Replies, OurOwnDeadlineIsOneForTheNextHopToo) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1, "", 100);
  server.take();
  mesh.box.advance_ms(100);
  EXPECT_EQ(server.take().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(ended_with(mesh.box, Code::kDeadlineExceeded), 1u);
}

TEST(Replies, WhatWaitsForAFilterIsCountedWhenItsCallerGivesItUp) {
  Mesh mesh;
  mesh.server("server");
  mesh.serve_by({"server"});
  SetFlow flow = set_flow("s", 1);
  flow.action.upcall = true;
  mesh.box.apply(std::move(flow));
  mesh.call(1, "", 60'000);
  mesh.call(2, "", 60'000);
  mesh.call(3, "", 60'000);
  mesh.caller.send(cancel_because(1, Code::kDeadlineExceeded));
  mesh.caller.send(cancel_because(2, Code::kCancelled));
  mesh.box.turn();
  EXPECT_EQ(ended_with(mesh.box, Code::kDeadlineExceeded), 1u);
  EXPECT_EQ(ended_with(mesh.box, Code::kCancelled), 1u);
  EXPECT_EQ(mesh.box.engine.counters().deadlines, 1u);
  mesh.caller.close();
  mesh.box.turn(2);
  EXPECT_EQ(ended_with(mesh.box, Code::kCancelled), 2u);
}

TEST(Replies, OneThatItsCallerHasNoRoomForCountsAsWhatTheCallerIsTold) {
  EngineOptions options;
  options.max_outbound_bytes = 64 * 1024;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  // The caller reads nothing until the last reply finds no room.
  uint64_t refused = 0;
  for (uint64_t id = 1; id <= 200 && refused == 0; id++) {
    mesh.call(id);
    server.send(response(server.take().id(), std::string(60'000, 'y')));
    mesh.box.turn();
    refused = mesh.box.engine.counters().refused_outbound_full;
  }
  ASSERT_EQ(refused, 1u);
  EXPECT_EQ(ended_with(mesh.box, Code::kResourceExhausted), 1u);
}

TEST(Replies, OnceAReplyHasBegunNothingSaysThatItsRequestHasNotRun) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  const uint64_t id = server.take().id();
  WireFrame first = response(id, "begun", Code::kOk);
  first.fixed.flags = kFlagMore | kFlagNotRun;
  first.fixed.value = 100;
  server.send(first);
  EXPECT_FALSE(mesh.answer().not_run());
  WireFrame end = control(FrameType::kChunk, id);
  end.fixed.flags = kFlagReply | kFlagNotRun;
  end.fixed.status = static_cast<uint8_t>(Code::kAborted);
  server.send(end);
  const WireFrame broken_off = mesh.answer();
  EXPECT_EQ(broken_off.code(), Code::kAborted);
  EXPECT_EQ(broken_off.fixed.flags, kFlagReply);
}

TEST(Replies, AnAnswerThatOvertookItsRequestIsNoProofWhenItsLinkEnds) {
  EngineOptions options;
  options.max_outbound_bytes = 16 << 20;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  // It reads the first and none of the rest, whose ids it can guess: it begins to answer the last one, which still waits here.
  mesh.call(1, "first");
  const uint64_t first = server.take().id();
  for (uint64_t id = 2; id <= 60; id++) mesh.call(id, std::string(kMaxFrameBodyBytes, 'x'));
  WireFrame begun = response(first + 59, "begun");
  begun.fixed.flags = kFlagMore;
  begun.fixed.value = 100;
  server.send(begun);
  const WireFrame seen = mesh.answer();
  ASSERT_EQ(seen.fixed.flags, kFlagMore);
  Wire second = mesh.server("second");
  mesh.box.apply(set_cluster(1, {local_endpoint(100, mesh.box.link_of("server")),
                                 local_endpoint(101, mesh.box.link_of("second"))}));
  server.close();
  bool told = false;
  mesh.box.turn_until([&] {
    second.receive();
    mesh.caller.receive();
    for (const WireFrame& frame : mesh.caller.frames) {
      if (frame.id() != seen.id() || frame.fixed.type != FrameType::kChunk) continue;
      EXPECT_EQ(frame.code(), Code::kUnavailable);
      EXPECT_FALSE(frame.not_run());
      told = true;
    }
    return told;
  });
}

TEST(Replies, ADeadlineOfWhatTheAgentItselfIsAskedProvesNothing) {
  Mesh mesh;
  mesh.caller.send(request(1, {.service = "ringside.agent", .method = "publish"}, "{}", 100));
  mesh.box.turn();
  ASSERT_EQ(mesh.box.events.upcalls.size(), 1u);
  mesh.box.advance_ms(100);
  const WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(reply.not_run()) << "it may be published already";
}

TEST(Replies, ACancellationOfAWaitingRequestTakesItOut) {
  Mesh mesh;
  Wire server = mesh.server("server");
  for (uint64_t id = 1; id <= 3; id++) mesh.call(id, std::to_string(id));
  mesh.caller.send(control(FrameType::kCancel, 2));
  mesh.box.turn();
  mesh.serve_by({"server"});
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  EXPECT_EQ(server.take().body, "1");
  EXPECT_EQ(server.take().body, "3");
  EXPECT_FALSE(server.has_frame());
}

TEST(Replies, ACallersEndCancelsUpstreamAndForgetsItsWaitingRequests) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  mesh.call(2);
  mesh.caller.send(request(3, {.service = "unknown"}));
  mesh.box.turn();
  std::vector<uint64_t> open{server.take().id(), server.take().id()};
  mesh.caller.close();
  mesh.box.turn(2);
  for (int i = 0; i < 2; i++) {
    const WireFrame cancel = server.take();
    EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
    EXPECT_EQ(std::erase(open, cancel.id()), 1u);
  }
  const Stats stats = mesh.box.stats();
  EXPECT_EQ(stats.limits.at("pending").first, 0u);
  EXPECT_EQ(stats.limits.at("parked").first, 0u);
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(0).in_flight, 0u);
  server.send(response(1));
  mesh.box.turn();
}

TEST(Replies, AServersEndIsUnavailableAndMayHaveRun) {
  Mesh mesh;
  Wire server = mesh.server("server");
  Wire second = mesh.server("second");
  mesh.serve_by({"server", "second"});
  mesh.call(1);
  ASSERT_TRUE(server.has_frame());
  server.close();
  mesh.box.turn(2);
  const WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_FALSE(reply.not_run());
  EXPECT_NE(reply.text().find("was lost"), std::string::npos);
  EXPECT_FALSE(second.has_frame());
  EXPECT_EQ(mesh.box.engine.counters().repicks, 0u);
}

TEST(Replies, WhatTheServerSentBeforeItsEndStillCounts) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  server.send(response(server.take().id(), "last words"));
  server.close();
  EXPECT_EQ(mesh.answer().body, "last words");
}

TEST(Replies, WhatAServerNeverTookWholeGoesToAnother) {
  EngineOptions options;
  options.max_outbound_bytes = 16 << 20;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  // The server reads nothing, so its socket fills and the rest waits in the engine.
  constexpr uint64_t kCalls = 60;
  for (uint64_t id = 1; id <= kCalls; id++) mesh.call(id, std::string(kMaxFrameBodyBytes, static_cast<char>(id)));
  EXPECT_GT(mesh.box.stats().links.at(1).outbound_bytes, 10 * kMaxFrameBodyBytes);
  Wire second = mesh.server("second");
  mesh.box.apply(set_cluster(1, {local_endpoint(100, mesh.box.link_of("server")),
                                 local_endpoint(101, mesh.box.link_of("second"))}));
  server.close();
  std::map<uint64_t, WireFrame> lost;
  std::map<uint64_t, uint64_t> again;
  mesh.box.turn_until([&] {
    second.receive();
    while (!second.frames.empty()) {
      const WireFrame frame = second.take();
      EXPECT_EQ(frame.fixed.attempt, 1);
      EXPECT_EQ(frame.body.size(), kMaxFrameBodyBytes);
      again[static_cast<uint8_t>(frame.body[0])] = frame.id();
    }
    mesh.caller.receive();
    while (!mesh.caller.frames.empty()) {
      const WireFrame frame = mesh.caller.take();
      lost[frame.id()] = frame;
    }
    return lost.size() + again.size() == kCalls;
  });
  EXPECT_GT(lost.size(), 0u);
  EXPECT_GT(again.size(), 10u);
  EXPECT_EQ(mesh.box.engine.counters().repicks, again.size());
  int cut = 0;
  for (const auto& [id, reply] : lost) {
    EXPECT_EQ(reply.code(), Code::kUnavailable);
    EXPECT_FALSE(again.contains(id));
    cut += reply.not_run() ? 1 : 0;
  }
  EXPECT_LE(cut, 1) << "the one of which a part was taken: it has not run, but its bytes are no longer here";
  // Once only: when the second one goes, too, the caller is told, and that what was still here has not run.
  second.send(response(again.begin()->second, "done"));
  EXPECT_EQ(mesh.answer().body, "done");
  second.close();
  mesh.box.turn(2);
  mesh.caller.receive();
  EXPECT_EQ(mesh.caller.frames.size(), again.size() - 1);
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Replies, WhatIsSentAgainGoesToTheClusterTheFilterChose) {
  EngineOptions options;
  options.max_outbound_bytes = 16 << 20;
  Mesh mesh(std::move(options));
  Wire right = mesh.server("right");
  Wire wrong = mesh.server("wrong");
  mesh.serve_by({"wrong"});
  SetFlow flow = set_flow("s", 1);
  flow.action.upcall = true;
  mesh.box.apply(std::move(flow), set_cluster(2, {local_endpoint(200, mesh.box.link_of("right"))}));
  for (uint64_t id = 1; id <= 40; id++) {
    mesh.call(id, std::string(kMaxFrameBodyBytes, 'x'));
    Resolve verdict = resolve(mesh.box.events.upcalls.back().token, Resolve::Verdict::kForward);
    verdict.cluster = 2;
    mesh.box.apply(std::move(verdict));
  }
  Wire second = mesh.server("second");
  mesh.box.apply(set_cluster(2, {local_endpoint(200, mesh.box.link_of("right")),
                                 local_endpoint(201, mesh.box.link_of("second"))}));
  right.close();
  mesh.box.turn(3);
  EXPECT_GT(mesh.box.engine.counters().repicks, 10u);
  EXPECT_TRUE(second.has_frame());
  EXPECT_FALSE(wrong.has_frame());
}

TEST(Replies, AFlowThatIsGoneDoesNotLoseItsRequests) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  mesh.box.apply(RemoveService{Direction::kOutbound, "s"}, RemoveCluster{1});
  server.send(response(server.take().id(), "still here"));
  EXPECT_EQ(mesh.answer().body, "still here");
  EXPECT_TRUE(mesh.box.stats().clusters.empty());
}

TEST(Replies, OnlyFramesThatARoleAllowsAreTaken) {
  EngineBox box;
  box.listen_unix_socket();
  const uint16_t port = box.listen_tcp_port(LinkRole::kPeer);
  struct Case {
    bool peer;
    WireFrame frame;
  };
  for (const Case& c : {Case{true, response(1)}, Case{false, control(FrameType::kWelcome, 0)},
                        Case{true, control(FrameType::kHello, 0)}}) {
    Wire wire = c.peer ? Wire::tcp(port) : Wire::unix_socket(box.path());
    box.open(wire, "x");
    const uint64_t before = box.engine.counters().protocol_violations;
    wire.send(c.frame);
    box.turn_until([&] { return wire.has_ended(); });
    EXPECT_EQ(box.engine.counters().protocol_violations, before + 1);
  }
}

TEST(Replies, PingIsAnsweredWithItsId) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = box.app("app");
  app.send(control(FrameType::kPing, 0xABCDEF0123456789));
  box.turn();
  const WireFrame pong = app.take();
  EXPECT_EQ(pong.fixed.type, FrameType::kPong);
  EXPECT_EQ(pong.id(), 0xABCDEF0123456789u);
}

}  // namespace
}  // namespace ringside
