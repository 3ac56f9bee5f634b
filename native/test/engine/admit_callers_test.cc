// Whom an engine lets in over TCP: by the user at the other end, by a token where the kernel does not tell, and what it is told of where its peers are.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "native/test/engine/handover.h"
#include "native/test/engine/old_peers.h"

namespace ringside::testing {
namespace {

const uint32_t kSelf = static_cast<uint32_t>(::getuid());

EngineOptions only_others() {
  EngineOptions options;
  options.loopback_uids = {kSelf + 1};
  return options;
}

TEST(AdmitCallers, AUserWhoIsNotListedIsRefusedAtTheLoopbackPort) {
  EngineBox box(only_others());
  Wire app = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  app.send(hello("thief"));
  app.send(request(1, {.service = "ringside.agent", .method = "publish"}, R"({"service":"s"})"));
  box.turn_until([&] { return app.has_frame(); });
  const WireFrame answer = app.take();
  EXPECT_EQ(answer.fixed.type, FrameType::kWelcome);
  EXPECT_EQ(answer.code(), Code::kPermissionDenied);
  EXPECT_EQ(answer.text(),
            "uid " + std::to_string(kSelf) + " may not use this agent's port for applications: add it to loopback.allowUids");
  EXPECT_TRUE(app.has_ended());
  box.turn(3);
  EXPECT_TRUE(box.events.ups.empty() && box.events.upcalls.empty());
  EXPECT_EQ(box.stats().counters["links_refused"], 1u);
}

TEST(AdmitCallers, AnOldClientIsRefusedInItsOwnWords) {
  EngineBox box(only_others());
  const uint16_t port = box.listen_tcp_port(LinkRole::kApp);
  Plain before = connect_to(port);
  before.send(call("[]"));
  Plain after = connect_to(port);
  box.turn(3);
  after.send("PING\r\n");
  for (Plain* client : {&before, &after}) {
    box.turn_until([&] {
      client->receive();
      return client->ended;
    });
    EXPECT_EQ(client->got, "-NOPERM uid " + std::to_string(kSelf) +
                               " may not use this agent's port for applications: add it to loopback.allowUids\r\n");
  }
}

TEST(AdmitCallers, WhoIsRefusedAndSaysNothingIsToldAfterAMoment) {
  EngineBox box(only_others());
  Wire silent = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  box.turn(3);
  EXPECT_FALSE(silent.has_frame());
  box.advance_ms(1'001);
  box.turn_until([&] { return silent.has_frame(); });
  EXPECT_EQ(silent.take().code(), Code::kPermissionDenied);
  EXPECT_TRUE(silent.has_ended());
}

TEST(AdmitCallers, MoreThanCanBeHeardOutAreStillRefused) {
  EngineBox box(only_others());
  const uint16_t port = box.listen_tcp_port(LinkRole::kApp);
  std::vector<Wire> crowd;
  for (int i = 0; i < 80; i++) crowd.push_back(Wire::tcp(port));
  box.turn(5);
  EXPECT_EQ(box.engine.counters().links_refused, 80u);
  box.advance_ms(1'001);
  for (Wire& wire : crowd) {
    box.turn_until([&] { return wire.has_frame(); });
    EXPECT_EQ(wire.take().code(), Code::kPermissionDenied);
  }
}

TEST(AdmitCallers, WhoWroteAndClosedIsNotTakenForRoot) {
  EngineOptions options;
  options.loopback_uids = {0, kSelf};
  EngineBox box(std::move(options));
  Wire app = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  app.send(hello("thief"));
  app.send(request(1, {.service = "/service/moa-admin", .method = "registerService"}, "[]"));
  app.close();
  box.turn(5);
  EXPECT_TRUE(box.events.ups.empty() && box.events.upcalls.empty());
  EXPECT_EQ(box.engine.counters().links_refused, 1u);
}

TEST(AdmitCallers, WhoIsNotKnownMayShowTheToken) {
  EngineOptions options;
  options.loopback_token = "secret-token";
  EngineBox box(std::move(options));
  const uint16_t port = box.listen_tcp_port(LinkRole::kApp);
  for (const char* token : {"secret-token", "another-token"}) {
    Wire app = Wire::tcp(port);
    app.send(hello("app", 0, token));
    app.send(request(1, {.service = "ringside.agent", .method = "publish"}, "{}"));
    app.close();
    box.turn(5);
  }
  EXPECT_EQ(box.events.upcalls.size(), 1u);
}

TEST(AdmitCallers, ATokenDoesNotLetInWhoIsKnownAndNotListed) {
  EngineOptions options = only_others();
  options.loopback_token = "secret-token";
  EngineBox box(std::move(options));
  Wire app = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  app.send(hello("app", 0, "secret-token"));
  box.turn_until([&] { return app.has_frame(); });
  EXPECT_EQ(app.take().code(), Code::kPermissionDenied);
}

TEST(AdmitCallers, AnyLetsEverybodyIn) {
  EngineOptions options = only_others();
  options.loopback_any_uid = true;
  EngineBox box(std::move(options));
  Wire app = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  box.open(app, "app");
}

TEST(AdmitCallers, LinksOfOneUserOverTcpAreBoundedLikeOthers) {
  EngineOptions options;
  options.max_links_per_uid = 2;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  const uint16_t port = box.listen_tcp_port(LinkRole::kApp);
  Wire first = box.app("first");
  Wire second = Wire::tcp(port);
  box.open(second, "second");
  EXPECT_NE(box.stats().links.back().peer.find(" uid " + std::to_string(kSelf)), std::string::npos);
  Wire third = Wire::tcp(port);
  third.send(hello("third"));
  box.turn_until([&] { return third.has_frame(); });
  EXPECT_NE(third.take().text().find("limits.linksPerUid"), std::string::npos);
}

TEST(AdmitCallers, ALinkThatWasTakenOverStaysThoughItsUserWouldBeRefusedNow) {
  Handover world;
  Wire app = Wire::tcp(world.old_one->listen_tcp_port(LinkRole::kApp));
  world.old_one->open(app, "app");
  world.new_options.loopback_uids = {kSelf + 1};
  world.take_over();
  app.send(request(1, {.service = "ringside.agent", .method = "publish"}, "{}"));
  world.until([&] { return !world.new_one->events.upcalls.empty(); });
  EXPECT_EQ(static_cast<CallerPlace>(world.new_one->events.upcalls.front().place), CallerPlace::kHere);
}

/// The place that the upcall for a control request over this link names.
CallerPlace place_of(EngineOptions options, LinkRole role) {
  EngineBox box(std::move(options));
  Wire wire = Wire::tcp(box.listen_tcp_port(role));
  box.open(wire, "caller");
  wire.send(request(1, {.service = "/service/moa-admin", .method = "registerService"}, "[]"));
  box.turn_until([&] { return !box.events.upcalls.empty(); });
  return static_cast<CallerPlace>(box.events.upcalls.front().place);
}

TEST(AdmitCallers, AnUpcallSaysWhereItsCallerIs) {
  EXPECT_EQ(place_of({}, LinkRole::kApp), CallerPlace::kHere);
  EXPECT_EQ(place_of({}, LinkRole::kPeer), CallerPlace::kNotAsked);
  EngineOptions placing;
  placing.place_peers = true;
  EXPECT_EQ(place_of(placing, LinkRole::kPeer), CallerPlace::kHere);
  EngineOptions others = only_others();
  others.place_peers = true;
  EXPECT_EQ(place_of(others, LinkRole::kPeer), CallerPlace::kHereUnallowed);
}

}  // namespace
}  // namespace ringside::testing
