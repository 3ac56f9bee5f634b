// How links begin and end: who is let in, what a handshake must look like, how long it may take, and what is reported.
#include <gtest/gtest.h>

#include <chrono>

#include "native/shm/segment.h"
#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

TEST(OpenLinks, AnAppIsWelcomedAndReportedOnce) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = box.app("shop");
  box.turn(3);
  ASSERT_EQ(box.events.ups.size(), 1u);
  const LinkUpEvent& up = box.events.ups[0];
  EXPECT_EQ(up.app, "shop");
  EXPECT_EQ(up.kind, static_cast<uint8_t>(LinkKind::kUnix));
  EXPECT_EQ(up.role, static_cast<uint8_t>(LinkRole::kApp));
  EXPECT_NE(up.peer.find("pid " + std::to_string(::getpid())), std::string::npos);
  app.close();
  box.turn(3);
  ASSERT_EQ(box.events.downs.size(), 1u);
  EXPECT_EQ(box.events.downs[0].link, up.link);
  EXPECT_EQ(box.events.downs[0].reason, "the peer closed the connection");
  EXPECT_EQ(box.stats().limits["links"].first, 0u);
}

TEST(OpenLinks, AUidThatIsNotAllowedIsRefusedWithAReason) {
  EngineOptions options;
  options.allow_uids = {static_cast<uint32_t>(::getuid()) + 1};
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire app = Wire::unix_socket(box.path());
  box.turn(2);
  const WireFrame answer = app.take();
  EXPECT_EQ(answer.fixed.type, FrameType::kWelcome);
  EXPECT_EQ(answer.code(), Code::kPermissionDenied);
  EXPECT_NE(answer.text().find("socket.allowUids"), std::string::npos);
  EXPECT_TRUE(app.has_ended());
  box.turn();
  EXPECT_TRUE(box.events.ups.empty() && box.events.downs.empty());
  EXPECT_EQ(box.stats().counters["links_refused"], 1u);
}

/// Connections whose first bytes come when the refusal is out already.
struct Refusing {
  EngineBox box{refuse_all()};
  uint16_t inbound = box.listen_tcp_port(LinkRole::kPeer);
  Wire only = Wire::tcp(inbound);
  Refusing() {
    box.listen_unix_socket();
    box.open(only, "the only one");
  }
  static EngineOptions refuse_all() {
    EngineOptions options;
    options.allow_uids = {static_cast<uint32_t>(::getuid()) + 1};
    options.max_links_per_address = 1;
    return options;
  }
};

TEST(OpenLinks, WhoStillSpeaksHearsWhyItIsRefused) {
  Refusing refusing;
  EngineBox& box = refusing.box;
  for (int i = 0; i < 50; i++) {
    for (const bool unix_socket : {true, false}) {
      Wire peer = unix_socket ? Wire::unix_socket(box.path()) : Wire::tcp(refusing.inbound);
      if (i % 2 == 1) peer.send(hello("before"));
      box.turn_until([&] { return box.engine.counters().links_refused == static_cast<uint64_t>(2 * i + (unix_socket ? 1 : 2)); });
      peer.send(hello("after"));  // must not be an error
      box.turn(2);
      peer.send(hello("again"));
      EXPECT_EQ(peer.take().code(), unix_socket ? Code::kPermissionDenied : Code::kResourceExhausted);
      EXPECT_TRUE(peer.has_ended());
    }
  }
  EXPECT_EQ(box.stats().limits["links"].first, 1u) << "who is refused takes no place";
}

TEST(OpenLinks, WhoIsRefusedIsHeardOutForAWhileOnly) {
  Refusing refusing;
  EngineBox& box = refusing.box;
  const auto is_over = [](const Wire& peer) { return ::send(peer.fd(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0; };
  Wire quiet = Wire::unix_socket(box.path());
  Wire noisy = Wire::unix_socket(box.path());
  box.turn(2);
  EXPECT_FALSE(is_over(quiet));
  noisy.send_bytes(std::string(100'000, 'x'));
  box.turn();
  EXPECT_TRUE(is_over(noisy));
  box.advance_ms(999);
  EXPECT_FALSE(is_over(quiet));
  box.advance_ms(1);
  EXPECT_TRUE(is_over(quiet));

  std::vector<Wire> crowd;
  for (int i = 0; i < 100; i++) crowd.push_back(Wire::unix_socket(box.path()));
  box.turn(4);
  EXPECT_EQ(std::count_if(crowd.begin(), crowd.end(), is_over), 36) << "beyond 64 at a time nobody is waited for";
  for (Wire& peer : crowd) EXPECT_EQ(peer.take().code(), Code::kPermissionDenied);
  for (Wire& peer : crowd) peer.close();
  box.turn();
  Wire late = Wire::unix_socket(box.path());
  box.turn(2);
  EXPECT_FALSE(is_over(late)) << "they have gone and left room";
}

TEST(OpenLinks, ATokenIsAskedForOnTheLoopbackPortOnly) {
  EngineOptions options;
  options.loopback_token = "secret";
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire local = box.app("on the unix socket");
  const uint16_t apps = box.listen_tcp_port(LinkRole::kApp, 2);
  const uint16_t agents = box.listen_tcp_port(LinkRole::kPeer, 3);
  for (const char* token : {"", "wrong", "secre", "secret2"}) {
    Wire app = Wire::tcp(apps);
    app.send(hello("app", 0, token));
    box.turn_until([&] { return app.has_frame(); });
    const WireFrame answer = app.take();
    EXPECT_EQ(answer.code(), Code::kUnauthenticated) << token;
    EXPECT_NE(answer.text().find("token"), std::string::npos);
    box.turn_until([&] { return app.has_ended(); });
  }
  Wire app = Wire::tcp(apps);
  app.send(hello("app", 0, "secret"));
  box.turn_until([&] { return app.has_frame(); });
  EXPECT_EQ(app.take().code(), Code::kOk);
  Wire agent = Wire::tcp(agents);
  box.open(agent, "agent");
}

TEST(OpenLinks, WithoutTheFlagATokenIsNone) {
  EngineOptions options;
  options.loopback_token = "secret";
  EngineBox box(std::move(options));
  Wire app = Wire::tcp(box.listen_tcp_port(LinkRole::kApp));
  WireFrame first = hello("app", 0, "secret");
  first.fixed.flags = 0;
  app.send(first);
  box.turn_until([&] { return app.has_frame(); });
  EXPECT_EQ(app.take().code(), Code::kUnauthenticated);
}

TEST(OpenLinks, WhatDoesNotBeginWithAHelloIsAViolation) {
  EngineBox box;
  box.listen_unix_socket();
  WireFrame malformed = hello("app");
  malformed.header = "\x08\x01";
  const std::vector<std::string> first = {
      request(1, {.service = "s"}).bytes(), welcome_frame().bytes(), control(FrameType::kPing, 1).bytes(),
      malformed.bytes(), "GET / HTTP/1.1\r\n\r\n", "\xF5", std::string("\xF5\x53", 2)};
  uint64_t violations = 0;
  for (const std::string& bytes : first) {
    Wire wire = Wire::unix_socket(box.path());
    wire.send_bytes(bytes);
    box.turn(2);
    if (bytes == "\xF5") {
      EXPECT_FALSE(wire.has_ended()) << "it may still become a frame";
      continue;
    }
    EXPECT_TRUE(wire.has_ended()) << bytes;
    EXPECT_TRUE(wire.frames.empty());
    EXPECT_EQ(box.engine.counters().protocol_violations, ++violations);
  }
  EXPECT_TRUE(box.events.ups.empty());
}

TEST(OpenLinks, ASecondHelloIsAViolation) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = box.app("app");
  app.send(hello("app"));
  box.turn(2);
  EXPECT_TRUE(app.has_ended());
  ASSERT_EQ(box.events.downs.size(), 1u);
  EXPECT_EQ(box.events.downs[0].reason.rfind("protocol violation: ", 0), 0u);
}

TEST(OpenLinks, AHandshakeThatDribblesInIsEndedInTime) {
  EngineOptions options;
  options.open_timeout_ms = 500;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire slow = Wire::unix_socket(box.path());
  const std::string bytes = hello("slow").bytes();
  box.turn();
  for (size_t i = 0; i < 4; i++) {
    slow.send_bytes(bytes.substr(i, 1));
    box.advance_ms(100);
    EXPECT_FALSE(slow.has_ended());
  }
  box.advance_ms(99);
  EXPECT_FALSE(slow.has_ended());
  box.advance_ms(1);
  EXPECT_TRUE(slow.has_ended());
  EXPECT_EQ(box.stats().limits["links"].first, 0u);
}

TEST(OpenLinks, LinksPerUidAreBoundedAndCountedDown) {
  EngineOptions options;
  options.max_links_per_uid = 2;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire a = box.app("a");
  Wire b = box.app("b");
  for (int i = 0; i < 3; i++) {
    Wire c = Wire::unix_socket(box.path());
    box.turn(2);
    const WireFrame answer = c.take();
    EXPECT_EQ(answer.code(), Code::kResourceExhausted);
    EXPECT_NE(answer.text().find("limits.linksPerUid"), std::string::npos);
  }
  a.close();
  box.turn();
  Wire d = box.app("d");
  EXPECT_TRUE(d.valid());
}

TEST(OpenLinks, TheTableOfLinksIsBounded) {
  EngineOptions options;
  options.max_links = 2;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire a = box.app("a");
  Wire b = box.app("b");
  Wire c = Wire::unix_socket(box.path());
  box.turn(2);
  EXPECT_TRUE(c.has_ended());
  EXPECT_EQ(box.engine.counters().links_refused, 1u);
  b.close();
  box.turn(2);
  Wire d = box.app("d");
  EXPECT_EQ(box.stats().limits["links"], (std::pair<uint64_t, uint64_t>{2, 2}));
}

TEST(OpenLinks, ASlotIsUsedAgainOnlyAfterItsEndWasTold) {
  EngineBox box;
  box.listen_unix_socket();
  Wire a = box.app("a");
  const Handle first = box.link_of("a");
  a.close();
  Wire b = box.app("b");  // comes in the turn in which a goes
  const Handle second = box.link_of("b");
  EXPECT_NE(first.slot, second.slot);
  Wire c = box.app("c");
  const Handle third = box.link_of("c");
  EXPECT_EQ(third.slot, first.slot);
  EXPECT_NE(third.generation, first.generation);
  const auto at = [&](const std::string& what, Handle link) {
    const auto& order = box.events.order;
    return std::find(order.begin(), order.end(), what + events_detail::name_of(link)) - order.begin();
  };
  EXPECT_LT(at("up ", first), at("down ", first));
  EXPECT_LT(at("down ", first), at("up ", third));
}

TEST(OpenLinks, AnEndThatComesTogetherWithTheLastBytesIsNoticed) {
  EngineBox box;
  box.listen_unix_socket();
  Wire quick = Wire::unix_socket(box.path());
  box.turn();
  quick.send(hello("quick"));
  quick.close();
  box.turn(3);
  EXPECT_EQ(box.stats().limits["links"].first, 0u);

  // Nothing is answered here, so no failing write tells of the end either.
  Wire app = box.app("app");
  app.send(control(FrameType::kCancel, 1));
  app.close();
  box.turn(3);
  EXPECT_EQ(box.stats().limits["links"].first, 0u);
  ASSERT_FALSE(box.events.downs.empty());
}

TEST(OpenLinks, ManyConnectionsAtOnceAreAllAccepted) {
  EngineBox box;
  box.listen_unix_socket();
  std::vector<Wire> wires;
  for (int i = 0; i < 200; i++) {  // more than one turn accepts
    wires.push_back(Wire::unix_socket(box.path()));
    wires.back().send(hello("app"));
  }
  box.turn(8);
  for (Wire& wire : wires) EXPECT_TRUE(wire.has_frame());
  EXPECT_EQ(box.events.ups.size(), 200u);
}

TEST(OpenLinks, ARingIsGrantedWithItsDescriptors) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = Wire::unix_socket(box.path());
  app.send(hello("app", kMinRingBytes));
  box.turn(2);
  const WireFrame welcome = app.take();
  EXPECT_EQ(welcome.code(), Code::kOk);
  EXPECT_EQ(welcome.fixed.value, kMinRingBytes);
  ASSERT_EQ(app.fds.count, 3u);
  EXPECT_TRUE(Segment::open(std::move(app.fds.fds[0]), kMinRingBytes));
  ASSERT_EQ(box.events.ups.size(), 1u);
  EXPECT_EQ(box.events.ups[0].kind, static_cast<uint8_t>(LinkKind::kShm));
  app.send_bytes("x");
  box.turn(2);
  EXPECT_TRUE(app.has_ended()) << "the socket of a ring link carries nothing";
  ASSERT_EQ(box.events.downs.size(), 1u);
  EXPECT_EQ(box.events.downs[0].link, box.events.ups[0].link);
}

TEST(OpenLinks, WhereNoRingCanBeGivenTheSocketGoesOnAndSaysWhy) {
  struct Case {
    uint32_t wanted;
    bool enabled;
    bool tcp;
    const char* why;
  };
  for (const Case& c : {Case{kMinRingBytes, false, false, "shm.enabled"}, Case{12345, true, false, "power of two"},
                        Case{kMinRingBytes / 2, true, false, "limits"}, Case{kMinRingBytes, true, true, "unix"}}) {
    EngineOptions options;
    options.shm_enabled = c.enabled;
    EngineBox box(std::move(options));
    box.listen_unix_socket();
    Wire app = c.tcp ? Wire::tcp(box.listen_tcp_port(LinkRole::kApp)) : Wire::unix_socket(box.path());
    app.send(hello("app", c.wanted));
    box.turn_until([&] { return app.has_frame(); });
    const WireFrame welcome = app.take();
    EXPECT_EQ(welcome.code(), Code::kOk);
    EXPECT_EQ(welcome.fixed.value, 0u);
    EXPECT_NE(welcome.text().find(c.why), std::string::npos) << welcome.text();
    app.send(control(FrameType::kPing, 7));
    box.turn_until([&] { return app.has_frame(); });
    EXPECT_EQ(app.take().fixed.type, FrameType::kPong);
  }
}

TEST(OpenLinks, BytesBehindAHelloThatAsksForARingAreAViolation) {
  EngineBox box;
  box.listen_unix_socket();
  for (const std::string& behind : {control(FrameType::kPing, 1).bytes(), std::string("\xF5"), hello("b", kMinRingBytes).bytes()}) {
    Wire app = Wire::unix_socket(box.path());
    app.send_bytes(hello("app", kMinRingBytes).bytes() + behind);
    box.turn(2);
    EXPECT_TRUE(app.has_ended());
    EXPECT_TRUE(app.frames.empty());
  }
  EXPECT_EQ(box.engine.counters().protocol_violations, 3u);
}

TEST(OpenLinks, TypeScriptCanCloseALinkAndALateSecondTimeIsHarmless) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = box.app("app");
  const Handle link = box.link_of("app");
  box.apply(CloseLink{link, "enough"});
  EXPECT_TRUE(app.has_ended());
  ASSERT_EQ(box.events.downs.size(), 1u);
  EXPECT_EQ(box.events.downs[0].reason, "enough");
  box.apply(CloseLink{link, "again"}, CloseLink{Handle::unpack(UINT64_MAX), "nonsense"});
  EXPECT_EQ(box.engine.counters().stale_decisions, 2u);
}

TEST(OpenLinks, AClosedListenerAcceptsNoMore) {
  EngineBox box;
  const uint16_t port = box.listen_tcp_port(LinkRole::kApp, 5);
  Wire app = Wire::tcp(port);
  box.open(app, "app");
  box.apply(CloseListener{5}, CloseListener{5});
  EXPECT_EQ(box.engine.counters().stale_decisions, 1u);
  app.send(control(FrameType::kPing, 1));
  box.turn_until([&] { return app.has_frame(); });
  Result<SocketAddress> address = parse_address("127.0.0.1:" + std::to_string(port));
  UniqueFd late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(::connect(late.get(), reinterpret_cast<sockaddr*>(&address.value().storage), address.value().bytes), 0);
}

TEST(OpenLinks, LinksThatComeAndGoWhileNobodyReadsAreReportedLaterOrNotAtAll) {
  EngineOptions options;
  options.upcalls_per_second_per_link = 1000;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire noisy = box.app("noisy");
  box.deaf = true;
  for (uint64_t i = 0; i < 20; i++) {  // over a megabyte of upcalls
    noisy.send(request(i, {.service = "ringside.agent"}, std::string(kMaxFrameBodyBytes, 'x')));
    box.turn();
  }
  for (int i = 0; i < 50; i++) {
    Wire passing = Wire::unix_socket(box.path());
    passing.send(hello("passing"));
    box.turn(2);  // accepted, then read
    passing.close();
    box.turn();
  }
  Wire staying = Wire::unix_socket(box.path());
  staying.send(hello("staying"));
  box.turn(2);
  box.deaf = false;
  box.collect();
  EXPECT_EQ(box.events.ups.size(), 1u) << "of the noisy one, from before";
  // No traffic wakes it: the engine looks again by itself, long before the waiting requests expire (5 s) or the turn ends.
  const auto start = std::chrono::steady_clock::now();
  box.engine.turn(30'000);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  box.collect();
  ASSERT_EQ(box.events.ups.size(), 2u);
  EXPECT_EQ(box.events.ups[1].app, "staying");
  EXPECT_TRUE(box.events.downs.empty());
}

}  // namespace
}  // namespace ringside
