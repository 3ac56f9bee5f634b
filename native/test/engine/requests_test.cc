// A request's way through one engine: asked about once, then forwarded without asking; answered, refused or dropped with
// a status that says why; and the reply back under the id that the caller chose.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

TEST(Requests, TheFirstIsAskedAboutAndTheSecondIsNot) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.call(77, "body", 1234);
  ASSERT_EQ(mesh.box.events.upcalls.size(), 1u);
  const UpcallEvent upcall = mesh.box.events.upcalls[0];
  EXPECT_EQ(upcall.kind, UpcallKind::kMiss);
  EXPECT_EQ(upcall.direction, Direction::kOutbound);
  EXPECT_EQ(upcall.link, mesh.box.link_of("caller"));
  EXPECT_EQ(upcall.type, static_cast<uint8_t>(FrameType::kRequest));
  EXPECT_EQ(upcall.timeout_ms, 1234u);
  EXPECT_EQ(upcall.header, header_of({.service = "s", .method = "m"}));
  EXPECT_EQ(upcall.body, "") << "the body stays native";
  EXPECT_FALSE(server.has_frame());

  mesh.box.clock->advance_ms(34);
  mesh.box.apply(set_cluster(1, {local_endpoint(100, mesh.box.link_of("server"))}), set_service("s"), set_flow("s", 1),
                 resolve(upcall.token));
  const WireFrame first = server.take();
  EXPECT_EQ(first.fixed.type, FrameType::kRequest);
  EXPECT_EQ(first.header, upcall.header);
  EXPECT_EQ(first.body, "body");
  EXPECT_EQ(first.fixed.timeout_ms, 1200u) << "what is left of it";
  EXPECT_NE(first.id(), 77u);
  server.send(response(first.id(), "reply"));
  const WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.fixed.type, FrameType::kResponse);
  EXPECT_EQ(reply.id(), 77u);
  EXPECT_EQ(reply.body, "reply");

  mesh.call(78);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 1u);
  EXPECT_TRUE(server.has_frame());
  EXPECT_EQ(mesh.box.engine.counters().flow_hits, 1u);
  EXPECT_EQ(mesh.box.engine.counters().flow_misses, 1u);
}

TEST(Requests, ThoseWithTheSameQuestionWaitForOneAnswer) {
  Mesh mesh;
  Wire server = mesh.server("server");
  for (uint64_t id = 1; id <= 5; id++) mesh.call(id, std::to_string(id));
  ASSERT_EQ(mesh.box.events.upcalls.size(), 1u);
  mesh.serve_by({"server"});
  mesh.box.apply(resolve(mesh.box.events.upcalls[0].token));
  for (uint64_t id = 1; id <= 5; id++) EXPECT_EQ(server.take().body, std::to_string(id)) << "in order";
  mesh.box.apply(resolve(mesh.box.events.upcalls[0].token));
  EXPECT_EQ(mesh.box.engine.counters().stale_decisions, 1u);
  EXPECT_FALSE(server.has_frame());
}

TEST(Requests, ADecisionWithoutAFlowIsAnInternalError) {
  Mesh mesh;
  mesh.call(1);
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  const WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kInternal);
  EXPECT_TRUE(reply.not_run());
}

TEST(Requests, AVerdictCanRejectAnswerOrForward) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.box.apply(set_cluster(9, {local_endpoint(100, mesh.box.link_of("server"))}));

  mesh.call(1);
  Resolve verdict = resolve(mesh.box.events.upcalls.at(0).token, Resolve::Verdict::kReject);
  verdict.code = Code::kPermissionDenied;
  verdict.text = "not you";
  mesh.box.apply(std::move(verdict));
  WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.id(), 1u);
  EXPECT_EQ(reply.code(), Code::kPermissionDenied);
  EXPECT_EQ(reply.text(), "not you");
  EXPECT_TRUE(reply.not_run());

  mesh.call(2);
  verdict = resolve(mesh.box.events.upcalls.at(1).token, Resolve::Verdict::kAnswer);
  verdict.header = header_of({.attachments = {{"a", "b"}}});
  verdict.body = "fixed";
  mesh.box.apply(std::move(verdict));
  reply = mesh.answer();
  EXPECT_EQ(reply.id(), 2u);
  EXPECT_EQ(reply.code(), Code::kOk);
  EXPECT_EQ(reply.body, "fixed");
  EXPECT_EQ(reply.header, header_of({.attachments = {{"a", "b"}}}));

  for (const std::string& header : {std::string(), header_of({.service = "renamed", .method = std::string(200, 'm')})}) {
    mesh.call(3, "body");
    verdict = resolve(mesh.box.events.upcalls.back().token, Resolve::Verdict::kForward);
    verdict.header = header;
    verdict.cluster = 9;
    mesh.box.apply(std::move(verdict));
    const WireFrame forwarded = server.take();
    EXPECT_EQ(forwarded.header, header.empty() ? header_of({.service = "s", .method = "m"}) : header);
    EXPECT_EQ(forwarded.body, "body");
    server.send(response(forwarded.id()));
    EXPECT_EQ(mesh.answer().id(), 3u);
  }
}

TEST(Requests, AVerdictThatFitsNoFrameIsAnInternalError) {
  Mesh mesh;
  for (int i = 0; i < 3; i++) {
    mesh.call(1);
    Resolve verdict = resolve(mesh.box.events.upcalls.back().token,
                              i == 2 ? Resolve::Verdict::kForward : Resolve::Verdict::kAnswer);
    (i == 0 ? verdict.body : verdict.header) = std::string(kMaxFrameBodyBytes + 1, 'x');
    mesh.box.apply(std::move(verdict));
    EXPECT_EQ(mesh.answer().code(), Code::kInternal) << i;
  }
}

TEST(Requests, AFlowCanRejectWithoutAsking) {
  Mesh mesh;
  SetFlow flow = set_flow("s", 0);
  flow.action.kind = FlowAction::Kind::kReject;
  flow.action.code = Code::kUnimplemented;
  flow.action.text = "switched off";
  mesh.box.apply(set_service("s"), std::move(flow));
  mesh.call(5);
  const WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kUnimplemented);
  EXPECT_EQ(reply.text(), "switched off");
  EXPECT_TRUE(reply.not_run());
  EXPECT_TRUE(mesh.box.events.upcalls.empty());
}

TEST(Requests, AFilterSeesEveryRequestOfItsFlow) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  SetFlow flow = set_flow("s", 1);
  flow.action.upcall = true;
  mesh.box.apply(std::move(flow));
  for (uint64_t id = 1; id <= 3; id++) {
    mesh.call(id);
    ASSERT_EQ(mesh.box.events.upcalls.size(), id);
    EXPECT_EQ(mesh.box.events.upcalls.back().kind, UpcallKind::kFilter);
    Resolve verdict = resolve(mesh.box.events.upcalls.back().token, Resolve::Verdict::kForward);
    verdict.cluster = 1;
    mesh.box.apply(std::move(verdict));
    EXPECT_TRUE(server.has_frame());
  }
}

TEST(Requests, TheAgentsOwnServiceGoesUpWithItsBodyFromAppsOnly) {
  Mesh mesh;
  mesh.caller.send(request(1, {.service = "ringside.agent", .method = "status"}, "{}"));
  mesh.box.turn();
  ASSERT_EQ(mesh.box.events.upcalls.size(), 1u);
  EXPECT_EQ(mesh.box.events.upcalls[0].kind, UpcallKind::kControl);
  EXPECT_EQ(mesh.box.events.upcalls[0].body, "{}");

  Wire peer = Wire::tcp(mesh.box.listen_tcp_port(LinkRole::kPeer));
  mesh.box.open(peer, "peer");
  peer.send(request(1, {.service = "ringside.agent", .method = "status"}, "{}"));
  mesh.box.turn_until([&] { return peer.has_frame(); });
  const WireFrame reply = peer.take();
  EXPECT_EQ(reply.code(), Code::kPermissionDenied);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(mesh.box.events.upcalls.size(), 1u);
}

TEST(Requests, AMalformedHeaderOrNoServiceIsAnsweredAndTheLinkGoesOn) {
  Mesh mesh;
  WireFrame bad = request(1, {.service = "s"});
  bad.header = std::string("\x63\x64", 2);
  mesh.caller.send(bad);
  EXPECT_EQ(mesh.answer().code(), Code::kInvalidArgument);
  mesh.caller.send(request(2, {.method = "m"}));
  const WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kInvalidArgument);
  EXPECT_TRUE(reply.not_run());
  EXPECT_NE(reply.text().find("service"), std::string::npos);
  bad.fixed.type = FrameType::kOneWay;
  mesh.caller.send(bad);
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame()) << "one-way requests are never answered";
  EXPECT_FALSE(mesh.caller.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().one_ways_dropped, 1u);
}

TEST(Requests, OneWayIsForwardedWithoutAPending) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  WireFrame one_way = request(0, {.service = "s"}, "x");
  one_way.fixed.type = FrameType::kOneWay;
  mesh.caller.send(one_way);
  mesh.box.turn();
  const WireFrame got = server.take();
  EXPECT_EQ(got.fixed.type, FrameType::kOneWay);
  EXPECT_EQ(got.id(), 0u);
  EXPECT_EQ(got.body, "x");
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Requests, AnIdInUseIsAViolation) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(5);
  mesh.call(5);
  mesh.box.turn();
  EXPECT_TRUE(mesh.caller.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().protocol_violations, 1u);
  EXPECT_EQ(server.take().fixed.type, FrameType::kRequest);
  EXPECT_EQ(server.take().fixed.type, FrameType::kCancel) << "its caller is gone";
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Requests, AnIdThatIsFreeAgainMayBeUsedAgain) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  for (int i = 0; i < 3; i++) {
    mesh.call(5);
    server.send(response(server.take().id()));
    EXPECT_EQ(mesh.answer().id(), 5u);
  }
}

TEST(Requests, AnIdUsedTwiceWhileItWaitsForADecisionHarmsOnlyItsSender) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.call(5, "a");
  mesh.call(5, "b");
  mesh.serve_by({"server"});
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  server.send(response(server.take().id(), "a"));
  server.send(response(server.take().id(), "b"));
  EXPECT_EQ(mesh.answer().body, "a");
  EXPECT_EQ(mesh.answer().body, "b");
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Requests, AServerMayAlsoCallAndEvenItself) {
  Mesh mesh;
  mesh.serve_by({"caller"});
  mesh.call(5, "to myself");
  const WireFrame got = mesh.caller.take();
  EXPECT_EQ(got.body, "to myself");
  mesh.caller.send(response(got.id(), "thanks"));
  EXPECT_EQ(mesh.answer().body, "thanks");

  mesh.call(6);
  mesh.caller.close();
  mesh.box.turn(2);
  const Stats stats = mesh.box.stats();
  EXPECT_EQ(stats.limits.at("pending").first, 0u);
  EXPECT_EQ(stats.limits.at("links").first, 0u);
}

TEST(Requests, TheAttemptOfAnAgentBeforeUsIsPassedOn) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  WireFrame again = request(5, {.service = "s"});
  again.fixed.attempt = 1;
  mesh.caller.send(again);
  mesh.box.turn();
  EXPECT_EQ(server.take().fixed.attempt, 1);
}

TEST(Requests, WithoutAnInstanceTheyAreRefusedAsNotRun) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.box.apply(set_cluster(1, {}), set_service("s"), set_flow("s", 1));
  mesh.call(1);
  WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(reply.text(), "no instance of this service is registered");

  mesh.box.apply(RemoveCluster{1});
  mesh.call(2);
  EXPECT_EQ(mesh.answer().code(), Code::kUnavailable);

  mesh.serve_by({"server"});
  server.close();
  mesh.box.turn();
  mesh.call(3);
  reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(reply.text(), "no instance of this service can be reached now");
}

TEST(Requests, OneThatWaitedPastItsDeadlineIsNotSent) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.call(1, "", 100);
  mesh.serve_by({"server"});
  mesh.box.clock->advance_ms(100);  // the decision comes before the timer is looked at
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  const WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(reply.not_run());
  EXPECT_FALSE(server.has_frame());
}

TEST(Requests, TimeoutsComeFromTheRequestThenTheFlowThenTheDefaultAndAreBounded) {
  EngineOptions options;
  options.default_timeout_ms = 300;
  options.max_timeout_ms = 1000;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.call(1);
  EXPECT_EQ(server.take().fixed.timeout_ms, 300u);
  mesh.call(2, "", 50);
  EXPECT_EQ(server.take().fixed.timeout_ms, 50u);
  mesh.call(3, "", UINT32_MAX);
  EXPECT_EQ(server.take().fixed.timeout_ms, 1000u);
  SetFlow flow = set_flow("s", 1);
  flow.action.timeout_ms = 200;
  mesh.box.apply(std::move(flow));
  mesh.call(4);
  EXPECT_EQ(server.take().fixed.timeout_ms, 200u);
  mesh.box.apply(SetTimeouts{10, 150});
  mesh.call(5);
  EXPECT_EQ(server.take().fixed.timeout_ms, 150u);
}

}  // namespace
}  // namespace ringside
