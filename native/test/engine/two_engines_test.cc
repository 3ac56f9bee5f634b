// Two engines over TCP: an app calls through its agent and the other's agent to an app there. Connecting, keeping alive,
// failing and going away between agents.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

struct Pair {
  HandClock clock;
  EngineBox a;
  EngineBox b;
  uint16_t port;
  Wire caller;
  Wire server;

  explicit Pair(EngineOptions options_a = {}, EngineOptions options_b = {})
      : a(std::move(options_a), &clock), b(std::move(options_b), &clock) {
    a.listen_unix_socket();
    b.listen_unix_socket();
    port = b.listen_tcp_port(LinkRole::kPeer);
    caller = a.app("caller");
    server = b.app("server");
    a.apply(set_cluster(1, {remote_endpoint(100, port)}), set_service("s"), set_flow("s", 1));
    b.apply(set_cluster(1, {local_endpoint(200, b.link_of("server"))}), set_service("s", Direction::kInbound),
            set_flow("s", 1, Direction::kInbound));
  }
  template <typename Condition>
  void until(Condition condition) {
    for (int i = 0; i < 2000; i++) {
      a.turn();
      b.engine.turn(i < 10 ? 0 : 1);
      b.collect();
      if (condition()) return;
    }
    FAIL() << "it did not happen";
  }
  void call(uint64_t id, std::string body = {}, uint32_t timeout_ms = 0) {
    caller.send(request(id, {.service = "s", .method = "m"}, std::move(body), timeout_ms));
  }
  WireFrame at_server() {
    until([&] { return server.has_frame(); });
    return server.take();
  }
  WireFrame answer() {
    until([&] { return caller.has_frame(); });
    return caller.take();
  }
  const EndpointStats endpoint() { return a.stats().clusters.at(0).endpoints.at(0); }
};

TEST(TwoEngines, ACallGoesThroughBothAndBack) {
  Pair pair;
  pair.call(77, "body", 5000);
  const WireFrame got = pair.at_server();
  EXPECT_EQ(got.body, "body");
  EXPECT_EQ(got.header, header_of({.service = "s", .method = "m"}));
  EXPECT_EQ(got.fixed.attempt, 0);
  pair.server.send(response(got.id(), "reply"));
  const WireFrame reply = pair.answer();
  EXPECT_EQ(reply.id(), 77u);
  EXPECT_EQ(reply.body, "reply");
  EXPECT_EQ(pair.a.engine.counters().connects, 1u);
  ASSERT_EQ(pair.a.events.ups.size(), 2u);
  EXPECT_EQ(pair.a.events.ups[1].role, static_cast<uint8_t>(LinkRole::kUpstream));
  EXPECT_EQ(pair.b.events.ups.back().app, "app") << "the agent's own name";
  EXPECT_EQ(pair.endpoint().state, 1) << "ready";
}

TEST(TwoEngines, ManyCallsOfEverySizeShareOneConnection) {
  Pair pair;
  std::map<uint64_t, size_t> sizes;
  for (uint64_t id = 1; id <= 200; id++) {
    sizes[id] = id % 10 == 0 ? kMaxFrameBodyBytes : (id * 977) % 5000;
    pair.call(id, std::string(sizes[id], static_cast<char>(id)));
    pair.a.turn();
  }
  uint64_t replies = 0;
  pair.until([&] {
    pair.server.receive();
    for (; !pair.server.frames.empty(); pair.server.frames.pop_front()) {
      const WireFrame& frame = pair.server.frames.front();
      pair.server.send(response(frame.id(), frame.body));
      pair.b.turn();
    }
    pair.caller.receive();
    for (; !pair.caller.frames.empty(); pair.caller.frames.pop_front(), replies++) {
      const WireFrame& reply = pair.caller.frames.front();
      EXPECT_EQ(reply.code(), Code::kOk);
      EXPECT_EQ(reply.body, std::string(sizes[reply.id()], static_cast<char>(reply.id())));
    }
    return replies == 200;
  });
  EXPECT_EQ(pair.a.engine.counters().connects, 1u);
}

TEST(TwoEngines, CancelAndDeadlineTravelAlongAndErrorsTravelBack) {
  Pair pair;
  pair.call(1);
  const uint64_t first = pair.at_server().id();
  pair.caller.send(control(FrameType::kCancel, 1));
  WireFrame cancel = pair.at_server();
  EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
  EXPECT_EQ(cancel.id(), first);

  pair.b.apply(set_cluster(1, {}));
  pair.call(2);
  const WireFrame reply = pair.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_TRUE(reply.not_run()) << "the proof passes through";
  EXPECT_EQ(pair.a.stats().limits["pending"].first, 0u);
  EXPECT_EQ(pair.b.stats().limits["pending"].first, 0u);
}

TEST(TwoEngines, WhatIsQueuedForAnAddressThatRefusesGoesToAnother) {
  Pair pair;
  Result<Listening> closed = listen_tcp("127.0.0.1", 0);
  const uint16_t nobody = closed.value().port;
  closed.value().fd.reset();
  pair.a.apply(set_cluster(1, {remote_endpoint(101, nobody), remote_endpoint(100, pair.port)}));
  // Round robin begins with the one where nobody listens.
  pair.call(1, "body");
  const WireFrame got = pair.at_server();
  EXPECT_EQ(got.body, "body");
  EXPECT_EQ(got.fixed.attempt, 1) << "sent again by an agent";
  pair.server.send(response(got.id()));
  EXPECT_EQ(pair.answer().code(), Code::kOk);
  EXPECT_EQ(pair.a.engine.counters().repicks, 1u);
  EXPECT_EQ(pair.a.engine.counters().connect_failures, 1u);
  for (uint64_t id = 2; id <= 5; id++) {
    pair.call(id);
    EXPECT_EQ(pair.at_server().fixed.attempt, 0) << "that address is left alone for a while";
  }
  EXPECT_EQ(pair.a.stats().clusters.at(0).endpoints.at(0).state, 3) << "backoff";
}

TEST(TwoEngines, WithoutAnotherInstanceTheCallerLearnsThatItHasNotRun) {
  Pair pair;
  Result<Listening> closed = listen_tcp("127.0.0.1", 0);
  const uint16_t nobody = closed.value().port;
  closed.value().fd.reset();
  pair.a.apply(set_cluster(1, {remote_endpoint(101, nobody)}));
  pair.call(1);
  const WireFrame reply = pair.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_TRUE(reply.not_run());
  pair.call(2);
  EXPECT_TRUE(pair.answer().not_run()) << "in backoff";
  const uint64_t connects = pair.a.engine.counters().connects;
  pair.clock.advance_ms(50);
  pair.call(3);
  pair.answer();
  EXPECT_EQ(pair.a.engine.counters().connects, connects + 1) << "the first wait is at most 50 ms";
}

TEST(TwoEngines, APeerThatAcceptsButNeverAnswersIsGivenUpInTime) {
  EngineOptions options;
  options.open_timeout_ms = 2000;
  Pair pair(std::move(options));
  Result<Listening> mute = listen_tcp("127.0.0.1", 0);
  pair.a.apply(set_cluster(1, {remote_endpoint(101, mute.value().port), remote_endpoint(100, pair.port)}));
  pair.call(1);
  pair.until([&] { return pair.a.stats().links.at(1).bytes_out > 0; });
  pair.clock.advance_ms(2000);
  const WireFrame reply = pair.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_FALSE(reply.not_run()) << "it was sent";
  EXPECT_NE(reply.text().find("handshake"), std::string::npos) << reply.text();
}

TEST(TwoEngines, APeerThatRefusesSaysWhy) {
  EngineBox a;
  a.listen_unix_socket();
  EngineOptions options;
  options.loopback_token = "secret";
  EngineBox b(std::move(options));
  const uint16_t port = b.listen_tcp_port(LinkRole::kApp);
  Wire caller = a.app("caller");
  a.apply(set_cluster(1, {remote_endpoint(100, port)}), set_service("s"), set_flow("s", 1));
  caller.send(request(1, {.service = "s"}));
  for (int i = 0; i < 2000 && !caller.has_frame(); i++) {
    a.engine.turn(1);
    b.turn();
  }
  const WireFrame reply = caller.take();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_NE(reply.text().find("the other agent refused"), std::string::npos) << reply.text();
}

TEST(TwoEngines, ALostConnectionIsMadeAgain) {
  Pair pair;
  pair.call(1);
  pair.at_server();
  pair.b.apply(CloseLink{pair.b.events.ups.back().link, "test"});
  const WireFrame reply = pair.answer();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_FALSE(reply.not_run());
  EXPECT_EQ(pair.at_server().fixed.type, FrameType::kCancel);
  pair.clock.advance_ms(50);
  pair.call(2);
  pair.server.send(response(pair.at_server().id()));
  EXPECT_EQ(pair.answer().code(), Code::kOk);
  EXPECT_EQ(pair.a.engine.counters().connects, 2u);
}

TEST(TwoEngines, KeepAlivePingsGoBothWaysAndKeepAnIdleLink) {
  EngineOptions options;
  options.keepalive_ms = 1000;
  Pair pair(options, options);
  pair.call(1);
  pair.server.send(response(pair.at_server().id()));
  pair.answer();
  uint64_t bytes_in = pair.a.stats().links.at(1).bytes_in;
  for (int i = 0; i < 10; i++) {
    // What came in one interval spares the ping of the next.
    for (int interval = 0; interval < 2; interval++) {
      pair.clock.advance_ms(1000);
      pair.a.turn();
      pair.b.turn();
    }
    pair.until([&] { return pair.a.stats().links.at(1).bytes_in > bytes_in; });
    bytes_in = pair.a.stats().links.at(1).bytes_in;
  }
  EXPECT_TRUE(pair.a.events.downs.empty());
  EXPECT_TRUE(pair.b.events.downs.empty());
}

TEST(TwoEngines, ASilentPeerIsClosedAfterThreeIntervals) {
  EngineOptions options;
  options.keepalive_ms = 1000;
  EngineBox box(std::move(options));
  Wire peer = Wire::tcp(box.listen_tcp_port(LinkRole::kPeer));
  box.open(peer, "peer");
  box.advance_ms(1000);  // its hello was in this one
  EXPECT_FALSE(peer.has_frame());
  for (int i = 0; i < 2; i++) {
    box.advance_ms(1000);
    box.turn_until([&] { return peer.has_frame(); });
    EXPECT_EQ(peer.take().fixed.type, FrameType::kPing);
    EXPECT_TRUE(box.events.downs.empty());
  }
  box.advance_ms(999);
  EXPECT_TRUE(box.events.downs.empty());
  box.advance_ms(1);
  ASSERT_EQ(box.events.downs.size(), 1u);
  EXPECT_EQ(box.events.downs[0].reason, "the peer has been silent for three keep-alive intervals");
}

TEST(TwoEngines, GoingAwayLosesNoRequest) {
  Pair pair;
  pair.call(1);
  const uint64_t running = pair.at_server().id();
  GoAway away;
  away.id = 5;
  away.timeout_ms = 1000;
  pair.b.apply(std::move(away));
  pair.until([&] { return !pair.b.events.go_aways.empty(); });
  EXPECT_EQ(pair.b.events.go_aways[0].acknowledged, 1u);
  pair.call(2);
  const WireFrame refused = pair.answer();
  EXPECT_EQ(refused.id(), 2u);
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_TRUE(refused.not_run());
  EXPECT_EQ(pair.endpoint().state, 4) << "draining";
  EXPECT_TRUE(pair.a.events.downs.empty()) << "a request is still running there";
  pair.server.send(response(running, "done"));
  EXPECT_EQ(pair.answer().body, "done");
  pair.until([&] { return !pair.a.events.downs.empty(); });
  EXPECT_EQ(pair.a.events.downs[0].reason, "the other agent is going away");
  EXPECT_EQ(pair.a.engine.counters().connect_failures, 0u);
}

TEST(TwoEngines, AnAddressThatNobodyNamesAnyMoreIsLeftWithItsLastRequest) {
  Pair pair;
  pair.call(1);
  const uint64_t id = pair.at_server().id();
  pair.a.apply(set_cluster(1, {}));
  EXPECT_TRUE(pair.a.events.downs.empty());
  pair.server.send(response(id, "done"));
  EXPECT_EQ(pair.answer().body, "done");
  pair.until([&] { return !pair.a.events.downs.empty() && pair.b.events.downs.size() == 1; });
  // And comes back when it is named again.
  pair.a.apply(set_cluster(1, {remote_endpoint(100, pair.port)}));
  pair.call(2);
  pair.server.send(response(pair.at_server().id()));
  EXPECT_EQ(pair.answer().code(), Code::kOk);
}

TEST(TwoEngines, AnUpstreamMaySendNoRequests) {
  EngineBox box;
  box.listen_unix_socket();
  Result<Listening> listening = listen_tcp("127.0.0.1", 0);
  Wire caller = box.app("caller");
  box.apply(set_cluster(1, {remote_endpoint(100, listening.value().port)}), set_service("s"), set_flow("s", 1));
  for (const WireFrame& bad : {request(1, {.service = "s"}), control(FrameType::kCancel, 1), hello("x")}) {
    caller.send(request(1, {.service = "s"}));
    UniqueFd accepted;
    box.turn_until([&] {
      if (!accepted.valid()) accepted.reset(::accept4(listening.value().fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return accepted.valid();
    });
    Wire upstream(std::move(accepted));
    upstream.send(welcome_frame());
    const uint64_t before = box.engine.counters().protocol_violations;
    upstream.send(bad);
    box.turn_until([&] { return caller.has_frame(); });
    EXPECT_EQ(caller.take().code(), Code::kUnavailable);
    EXPECT_EQ(box.engine.counters().protocol_violations, before + 1);
    upstream.receive();
    ASSERT_EQ(upstream.frames.size(), 2u);
    EXPECT_EQ(upstream.frames[0].fixed.type, FrameType::kHello);
    EXPECT_EQ(upstream.frames[0].view().source_app, "app");
    EXPECT_EQ(upstream.frames[1].fixed.type, FrameType::kRequest) << "without waiting for the welcome";
    box.clock->advance_ms(5000);
  }
}

}  // namespace
}  // namespace ringside
