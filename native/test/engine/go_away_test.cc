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

TEST(GoAwayRounds, OfAllServicesSpareWhatTheAgentsOwnAppsCallOfEachOther) {
  Peers f(1);
  Wire caller = f.box.app("caller");
  Wire server = f.box.app("server");
  SetCluster inbound = set_cluster(1, {local_endpoint(1, f.box.link_of("server"))});
  inbound.spec.direction = Direction::kInbound;
  f.box.apply(std::move(inbound), set_service("s", Direction::kInbound), set_flow("s", 1, Direction::kInbound),
              set_cluster(2, {remote_endpoint(2, f.port)}), set_service("s"), set_flow("s", 2));
  const auto call = [&](uint64_t id) {
    caller.send(request(id, {.service = "s"}));
    f.box.turn_until([&] { return server.has_frame() || caller.has_frame(); });
    if (caller.has_frame()) return caller.take().code();
    server.send(response(server.take().id()));
    f.box.turn_until([&] { return caller.has_frame(); });
    return caller.take().code();
  };
  EXPECT_EQ(call(1), Code::kOk);
  f.box.apply(f.away(7));
  const WireFrame told = f.next(f.peers[0]);
  EXPECT_EQ(told.fixed.type, FrameType::kGoAway);
  f.peers[0].send(control(FrameType::kGoAwayAck, told.id()));
  f.box.turn_until([&] { return !f.box.events.go_aways.empty(); });
  EXPECT_EQ(f.box.events.go_aways[0].acknowledged, 1u);
  EXPECT_EQ(call(2), Code::kOk);
  // A service that ends is told to all, and so is the end of everything.
  f.box.apply(f.away(8, "s"));
  f.peers[0].send(control(FrameType::kGoAwayAck, f.next(f.peers[0]).id()));
  f.box.turn_until([&] { return f.box.events.go_aways.size() == 2; });
  EXPECT_EQ(f.box.events.go_aways[1].acknowledged, 2u);
  EXPECT_EQ(call(3), Code::kUnavailable);
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

struct Served : Peers {
  Served() : Peers(1) {}
  SetCluster inbound(uint32_t id, std::vector<std::string> servers, std::string service = "s") {
    std::vector<EndpointSpec> endpoints;
    for (const std::string& name : servers) endpoints.push_back(local_endpoint(1000 * id + endpoints.size(), box.link_of(name)));
    SetCluster command = set_cluster(id, std::move(endpoints), std::move(service));
    command.spec.direction = Direction::kInbound;
    return command;
  }
  /// What came to the peer so far.
  std::vector<WireFrame> told() {
    peers[0].send(control(FrameType::kPing, 1));
    std::vector<WireFrame> frames;
    for (WireFrame frame = next(peers[0]); frame.fixed.type != FrameType::kPong; frame = next(peers[0])) frames.push_back(frame);
    return frames;
  }
};

TEST(SuddenEndOfAServer, IsToldBeforeTheRequestsThatWereLostWithIt) {
  Served f;
  Wire server = f.box.app("server");
  f.box.apply(f.inbound(1, {"server"}), set_service("s", Direction::kInbound), set_flow("s", 1, Direction::kInbound));
  for (uint64_t id = 1; id <= 3; id++) f.peers[0].send(request(id, {.service = "s"}));
  f.box.turn_until([&] { return server.has_frame(); });
  server.close();
  f.box.turn_until([&] { return !f.box.events.downs.empty(); });
  const std::vector<WireFrame> told = f.told();
  ASSERT_EQ(told.size(), 4u);
  EXPECT_EQ(told[0].fixed.type, FrameType::kGoAway);
  EXPECT_EQ(told[0].view().service, "s");
  for (size_t i = 1; i < 4; i++) EXPECT_EQ(told[i].code(), Code::kUnavailable);
  f.peers[0].send(control(FrameType::kGoAwayAck, told[0].id()));
  EXPECT_TRUE(f.told().empty());
  EXPECT_TRUE(f.box.events.go_aways.empty()) << "nobody asked for it";
}

TEST(SuddenEndOfAServer, IsNobodysBusinessWhileAnotherServesOn) {
  Served f;
  Wire first = f.box.app("first");
  Wire second = f.box.app("second");
  Wire other = f.box.app("other");
  // In the second cluster a group of the same service; the third is what apps of this agent ask others for.
  SetCluster outbound = f.inbound(3, {"first", "other"}, "t");
  outbound.spec.direction = Direction::kOutbound;
  f.box.apply(f.inbound(1, {"first"}), f.inbound(2, {"second"}), std::move(outbound));
  const auto end = [&](Wire& app) {
    const size_t before = f.box.events.downs.size();
    app.close();
    f.box.turn_until([&] { return f.box.events.downs.size() > before; });
  };
  end(first);
  end(other);
  EXPECT_TRUE(f.told().empty());
  end(second);
  const std::vector<WireFrame> told = f.told();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].view().service, "s");
}

TEST(SuddenEndOfAServer, IsToldToOtherAgentsOnlyAndNotWithoutEnd) {
  Served f;
  Wire client = f.box.app("client");
  const auto serve_and_end = [&] {
    Wire server = f.box.app("server");
    for (uint32_t id = 1; id <= 60; id++) f.box.apply(f.inbound(id, {"server"}, "s" + std::to_string(id)));
    const size_t before = f.box.events.downs.size();
    server.close();
    f.box.turn_until([&] { return f.box.events.downs.size() > before; });
    return f.told().size();
  };
  EXPECT_EQ(serve_and_end(), 60u);
  EXPECT_EQ(serve_and_end(), 40u) << "100 in a second; an honest agent closes links that send a thousand";
  f.box.advance_ms(1000);
  EXPECT_EQ(serve_and_end(), 60u);
  EXPECT_FALSE(client.has_frame());
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

TEST(AwaitingIdle, WithoutAppsIsToldWhenTheLastOneHasClosedAndNothingRuns) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.box.apply(AwaitIdle{1, true}, AwaitIdle{2});
  EXPECT_EQ(mesh.box.events.idle, std::vector<uint32_t>{2}) << "two apps are linked";
  mesh.call(1);
  const uint64_t running = server.take().id();
  mesh.caller.close();
  server.send(response(running));
  mesh.box.turn(3);
  EXPECT_EQ(mesh.box.events.idle.size(), 1u) << "one is left";
  server.close();
  mesh.box.turn_until([&] { return mesh.box.events.idle.size() == 2; });
  EXPECT_EQ(mesh.box.events.idle.back(), 1u);
}

}  // namespace
}  // namespace ringside
