// Leaving without losing a request: go-away and its acknowledgement, in both directions, and waiting until nothing runs.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

struct Peers {
  EngineBox box;
  uint16_t port = 0;
  std::vector<Wire> peers;

  explicit Peers(int n) {
    box.listen_unix_socket();
    port = box.listen_tcp_port(LinkRole::kPeer);
    for (int i = 0; i < n; i++) {
      peers.push_back(Wire::tcp(port));
      box.open(peers.back(), "peer-" + std::to_string(i));
    }
  }
  GoAway away(uint32_t id, std::string service = {}, bool apps = false) {
    GoAway command;
    command.id = id;
    command.apps = apps;
    command.service = std::move(service);
    command.timeout_ms = 1000;
    return command;
  }
  WireFrame next(Wire& wire) {
    box.turn_until([&] { return wire.has_frame(); });
    return wire.take();
  }
};

TEST(GoAwayRounds, EndWhenEveryPeerHasAcknowledged) {
  Peers f(2);
  f.box.apply(f.away(7, "s"));
  EXPECT_TRUE(f.box.events.go_aways.empty());
  for (Wire& peer : f.peers) {
    const WireFrame frame = f.next(peer);
    EXPECT_EQ(frame.fixed.type, FrameType::kGoAway);
    EXPECT_EQ(frame.view().service, "s");
    EXPECT_TRUE(f.box.events.go_aways.empty());
    peer.send(control(FrameType::kGoAwayAck, frame.id()));
    peer.send(control(FrameType::kGoAwayAck, frame.id()));  // once counts
    peer.send(control(FrameType::kGoAwayAck, frame.id() + 1));
    peer.send(control(FrameType::kGoAwayAck, UINT64_MAX));
    peer.send(control(FrameType::kPing, 1));
    f.next(peer);
  }
  ASSERT_EQ(f.box.events.go_aways.size(), 1u);
  EXPECT_EQ(f.box.events.go_aways[0].id, 7u);
  EXPECT_EQ(f.box.events.go_aways[0].acknowledged, 2u);
  EXPECT_EQ(f.box.events.go_aways[0].missing, 0u);
  f.box.advance_ms(1000);
  EXPECT_EQ(f.box.events.go_aways.size(), 1u);
}

TEST(GoAwayRounds, EndAtOnceWithoutPeers) {
  Peers f(0);
  Wire app = f.box.app("app");
  f.box.apply(f.away(7));
  ASSERT_EQ(f.box.events.go_aways.size(), 1u);
  EXPECT_FALSE(app.has_frame()) << "apps only when they are meant";
  f.box.apply(f.away(8, "", true));
  const WireFrame frame = app.take();
  EXPECT_EQ(frame.fixed.type, FrameType::kGoAway);
  EXPECT_TRUE(frame.header.empty()) << "no service: all of them";
  app.send(control(FrameType::kGoAwayAck, frame.id()));
  f.box.turn();
  EXPECT_EQ(f.box.events.go_aways.size(), 2u);
}

TEST(GoAwayRounds, EndAtTheirDeadlineWithAPeerThatNeverAcknowledges) {
  Peers f(2);
  f.box.apply(f.away(7));
  f.peers[0].send(control(FrameType::kGoAwayAck, f.next(f.peers[0]).id()));
  const uint64_t late = f.next(f.peers[1]).id();
  f.peers[0].send(control(FrameType::kPing, 1));
  f.next(f.peers[0]);
  f.box.advance_ms(999);
  EXPECT_TRUE(f.box.events.go_aways.empty());
  f.box.advance_ms(1);
  ASSERT_EQ(f.box.events.go_aways.size(), 1u);
  EXPECT_EQ(f.box.events.go_aways[0].acknowledged, 1u);
  EXPECT_EQ(f.box.events.go_aways[0].missing, 1u);

  // An acknowledgement that comes too late is none for the round that has the place now.
  f.box.apply(f.away(9));
  f.peers[1].send(control(FrameType::kGoAwayAck, late));
  const uint64_t id = f.next(f.peers[1]).id();
  EXPECT_NE(id, late);
  f.peers[0].send(control(FrameType::kGoAwayAck, f.next(f.peers[0]).id()));
  f.peers[1].send(control(FrameType::kPing, 1));
  f.next(f.peers[1]);
  EXPECT_EQ(f.box.events.go_aways.size(), 1u);
  f.peers[1].send(control(FrameType::kGoAwayAck, id));
  f.box.turn_until([&] { return f.box.events.go_aways.size() == 2; });
}

TEST(GoAwayRounds, APeerThatDiesSendsNoMoreEither) {
  Peers f(2);
  f.box.apply(f.away(7), f.away(8));
  for (Wire& peer : f.peers) peer.close();
  f.box.turn_until([&] { return f.box.events.go_aways.size() == 2; });
  for (const GoAwayDoneEvent& done : f.box.events.go_aways) EXPECT_EQ(done.missing, 0u);
  f.box.advance_ms(5000);
  EXPECT_EQ(f.box.events.go_aways.size(), 2u);
}

TEST(GoAwayRounds, OneTooManyFailsAtOnceInsteadOfWaiting) {
  Peers f(1);
  for (uint32_t id = 0; id < 16; id++) f.box.apply(f.away(id));
  EXPECT_TRUE(f.box.events.go_aways.empty());
  f.box.apply(f.away(16));
  ASSERT_EQ(f.box.events.go_aways.size(), 1u);
  EXPECT_EQ(f.box.events.go_aways[0].id, 16u);
  EXPECT_EQ(f.box.events.go_aways[0].acknowledged, 0u);
  EXPECT_GT(f.box.events.go_aways[0].missing, 0u);
  for (int i = 0; i < 16; i++) f.peers[0].send(control(FrameType::kGoAwayAck, f.next(f.peers[0]).id()));
  f.box.turn_until([&] { return f.box.events.go_aways.size() == 17; });
}

TEST(GoAwayFromAnApp, ItsInstancesArePickedNoMoreAndTheAcknowledgementComesLast) {
  Mesh mesh;
  Wire server = mesh.server("server");
  Wire second = mesh.server("second");
  mesh.serve_by({"server", "second"});
  for (uint64_t id = 1; id <= 4; id++) mesh.call(id);
  server.send(control(FrameType::kGoAway, 42, header_of({.service = "other"})));
  mesh.box.turn();
  mesh.call(5);
  mesh.call(6);
  server.send(control(FrameType::kGoAway, 43, header_of({.service = "s"})));
  mesh.box.turn();
  for (uint64_t id = 7; id <= 12; id++) mesh.call(id);
  server.receive();
  std::vector<FrameType> types;
  for (const WireFrame& frame : server.frames) types.push_back(frame.fixed.type);
  const auto kR = FrameType::kRequest;
  EXPECT_EQ(types, (std::vector<FrameType>{kR, kR, FrameType::kGoAwayAck, kR, FrameType::kGoAwayAck}));
  EXPECT_EQ(server.frames.back().id(), 43u);
  second.receive();
  EXPECT_EQ(second.frames.size(), 9u);
  // What it has is still answered.
  server.send(response(server.frames[0].id()));
  EXPECT_EQ(mesh.answer().code(), Code::kOk);
  second.close();
  mesh.box.turn();
  mesh.caller.receive();
  mesh.caller.frames.clear();
  mesh.call(20);
  EXPECT_EQ(mesh.answer().code(), Code::kUnavailable);
}

TEST(GoAwayFromAnApp, AMalformedOneIsAViolation) {
  Mesh mesh;
  mesh.caller.send(control(FrameType::kGoAway, 1, "\x08\x01"));
  mesh.box.turn(2);
  EXPECT_TRUE(mesh.caller.has_ended());
}

TEST(AwaitingIdle, IsToldOnceWhenNothingIsPendingOrParked) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.box.apply(AwaitIdle{1});
  EXPECT_EQ(mesh.box.events.idle, std::vector<uint32_t>{1});
  mesh.call(1);
  mesh.box.apply(AwaitIdle{2}, AwaitIdle{3});
  mesh.serve_by({"server"});
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  mesh.box.turn();
  EXPECT_EQ(mesh.box.events.idle.size(), 1u) << "parked, then pending";
  server.send(response(server.take().id()));
  mesh.box.turn(3);
  EXPECT_EQ(mesh.box.events.idle, (std::vector<uint32_t>{1, 2, 3}));
}

}  // namespace
}  // namespace ringside
