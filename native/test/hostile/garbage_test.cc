// What is no protocol at all, on every way in: garbage, half frames, lengths over their limits, bytes that trickle in. Each ends with the link
// closed at once or at a deadline, and counted; meanwhile an honest app is served, and afterwards nothing is left.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"
#include "native/test/fd/open_fds.h"
#include "native/test/hostile/live_heap.h"
#include "native/test/hostile/random_source.h"

namespace ringside {
namespace {

using namespace testing;

enum class Entrance { kUnix, kLoopback, kInbound };

class Garbage : public ::testing::TestWithParam<Entrance> {
 protected:
  Garbage() : mesh_(small()) {
    server_ = mesh_.server("server");
    mesh_.serve_by({"server"});
    loopback_ = mesh_.box.listen_tcp_port(LinkRole::kApp, 2);
    inbound_ = mesh_.box.listen_tcp_port(LinkRole::kPeer, 3);
  }
  static EngineOptions small() {
    EngineOptions options;
    options.max_links = 32;
    options.open_timeout_ms = 5000;
    options.keepalive_ms = 1000;
    return options;
  }
  Wire connect() {
    if (GetParam() == Entrance::kUnix) return Wire::unix_socket(mesh_.box.path());
    return Wire::tcp(GetParam() == Entrance::kLoopback ? loopback_ : inbound_);
  }
  uint64_t violations() const { return mesh_.box.engine.counters().protocol_violations; }
  uint64_t links() { return mesh_.box.stats().limits["links"].first; }
  void expect_honest_call_served() {
    const std::string body = "call " + std::to_string(++next_call_);
    mesh_.call(next_call_, body);
    WireFrame at_server = server_.take();
    while (at_server.body != body && server_.has_frame()) at_server = server_.take();  // others may ask it, too
    EXPECT_EQ(at_server.body, body);
    server_.send(response(at_server.id(), body));
    EXPECT_EQ(mesh_.answer().body, body);
  }
  void expect_closed_as_violation(const std::string& bytes) {
    const uint64_t before = violations();
    Wire wire = connect();
    // What begins with a letter is answered in the legacy protocol.
    wire.plain_text = GetParam() != Entrance::kUnix && bytes.front() == 'G';
    wire.send_bytes(bytes);
    mesh_.box.turn_until([&] { return wire.has_ended() || violations() > before; });
    EXPECT_EQ(violations(), before + 1) << "sent " << bytes.size() << " bytes";
    EXPECT_TRUE(wire.has_ended());
    expect_honest_call_served();
    EXPECT_EQ(links(), 2u);
  }

  Mesh mesh_;
  Wire server_;
  uint16_t loopback_ = 0;
  uint16_t inbound_ = 0;
  uint64_t next_call_ = 0;
};

std::string with_byte(std::string bytes, size_t at, uint8_t value) {
  bytes[at] = static_cast<char>(value);
  return bytes;
}

TEST_P(Garbage, IsClosedAndCounted) {
  const std::string good = hello("app").bytes();
  expect_closed_as_violation("\x16");  // TLS
  // On the TCP ports a letter may begin a command of the legacy protocol; HTTP is known there by its second line.
  if (GetParam() == Entrance::kUnix) expect_closed_as_violation("G");
  expect_closed_as_violation("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect_closed_as_violation(std::string(100'000, '\xFF'));
  expect_closed_as_violation("\xF5" "G");
  expect_closed_as_violation(with_byte(good, 2, 9));    // version
  expect_closed_as_violation(with_byte(good, 3, 99));   // type
  expect_closed_as_violation(with_byte(good, 5, 17));   // status
  expect_closed_as_violation(with_byte(good, 7, 1));    // reserved
  expect_closed_as_violation(with_byte(good, 11, 0x7F));                      // header of 2 GB
  expect_closed_as_violation(with_byte(good, 15, 0xFF).substr(0, kFixedBytes));  // body of 4 GB, refused before it comes
  expect_closed_as_violation(request(1, {.service = "s"}).bytes());           // no hello
  expect_closed_as_violation(welcome_frame().bytes());
  expect_closed_as_violation(with_byte(good, kFixedBytes, 0x03));             // a malformed header
  expect_closed_as_violation(good + good);
}

TEST_P(Garbage, HalfAHandshakeEndsInTime) {
  const uint64_t closed = mesh_.box.engine.counters().links_closed;
  const std::string good = hello("app").bytes();
  std::vector<Wire> wires;
  for (const size_t n : {size_t{0}, size_t{1}, size_t{2}, kFixedBytes - 1, kFixedBytes, good.size() - 1}) {
    wires.push_back(connect());
    if (n > 0) wires.back().send_bytes(good.substr(0, n));
  }
  mesh_.box.turn_until([&] { return links() == 2 + wires.size(); });
  expect_honest_call_served();
  mesh_.box.advance_ms(4999);
  EXPECT_EQ(links(), 2 + wires.size());
  mesh_.box.advance_ms(2);
  EXPECT_EQ(links(), 2u);
  EXPECT_EQ(mesh_.box.engine.counters().links_closed, closed + wires.size());
  for (Wire& wire : wires) EXPECT_TRUE(wire.has_ended());
}

TEST_P(Garbage, AHelloThatTricklesInEndsInTime) {
  const std::string good = hello("an application with a name of some length").bytes();
  Wire wire = connect();
  for (size_t i = 0; i < good.size() && !wire.has_ended(); i++) {
    wire.send_bytes(good.substr(i, 1));
    mesh_.box.advance_ms(100);
    mesh_.box.turn();
  }
  EXPECT_TRUE(wire.has_ended());
  EXPECT_FALSE(wire.has_frame()) << "no welcome";
  EXPECT_EQ(links(), 2u);
}

// Once it is open, an app may take its time over a frame, on memory of one frame; on TCP silence in the middle of one is noticed.
TEST_P(Garbage, AFrameThatTricklesInTakesNoMoreThanItsMemory) {
  const size_t heap = live_heap_bytes();
  const std::string large = request(1, {.service = "s"}, std::string(kMaxFrameBodyBytes, 'x')).bytes();
  std::vector<Wire> wires;
  for (int i = 0; i < 8; i++) {
    wires.push_back(connect());
    mesh_.box.open(wires.back(), "slow");
    wires.back().send_bytes(large.substr(0, large.size() - 100));
  }
  for (size_t at = large.size() - 100; at + 1 < large.size(); at++) {
    for (Wire& wire : wires) wire.send_bytes(large.substr(at, 1));
    mesh_.box.advance_ms(10);
  }
  EXPECT_LE(live_heap_bytes(), heap + wires.size() * 2 * kMaxFrameBytes + (1 << 20));
  expect_honest_call_served();
  for (int i = 0; i < 6; i++) mesh_.box.advance_ms(1001);
  const uint64_t alive = GetParam() == Entrance::kUnix ? wires.size() : 0;
  EXPECT_EQ(links(), 2 + alive);
  wires.clear();
  mesh_.box.turn_until([&] { return links() == 2; });
}

TEST_P(Garbage, ConnectionsWithoutAWordDoNotKeepOthersOutForLong) {
  std::vector<Wire> silent;
  for (int i = 0; i < 40; i++) silent.push_back(connect());
  mesh_.box.turn_until([&] { return links() == 32; });
  mesh_.box.turn(3);
  EXPECT_GE(mesh_.box.engine.counters().links_refused, 10u);
  expect_honest_call_served();
  mesh_.box.advance_ms(5001);
  EXPECT_EQ(links(), 2u);
  Wire honest = mesh_.box.app("honest");
  EXPECT_FALSE(honest.has_ended());
}

TEST_P(Garbage, AnythingAtAllLeavesNothingBehind) {
  RandomSource random(number_from("RINGSIDE_HOSTILE_SEED", 20));
  const size_t fds = open_fds();
  const size_t heap = live_heap_bytes();
  for (int round = 0; round < 400; round++) {
    Wire wire = connect();
    std::string bytes;
    if (random.one_in(2)) bytes = hello("fuzz").bytes();
    const uint64_t frames = random.below(4);
    for (uint64_t i = 0; i < frames; i++) {
      WireFrame frame = request(random.below(3), {.service = random.one_in(2) ? "s" : "other"}, std::string(random.below(300), 'x'));
      frame.fixed.type = static_cast<FrameType>(1 + random.below(kMaxFrameType));
      bytes += frame.bytes();
    }
    const uint64_t changes = random.below(4);
    for (uint64_t i = 0; i < changes && !bytes.empty(); i++) bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    if (random.one_in(3)) bytes.resize(random.below(bytes.size() + 1));
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = std::min<size_t>(bytes.size() - at, 1 + random.below(random.one_in(2) ? 7 : 400));
      // The agent may have closed it meanwhile.
      const ssize_t ignored = ::send(wire.fd(), bytes.data() + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
      (void)ignored;
      at += n;
      if (random.one_in(3)) mesh_.box.turn();
    }
    mesh_.box.turn(2);
    if (round % 20 == 0) expect_honest_call_served();
    server_.receive();
    server_.frames.clear();
  }
  mesh_.box.turn_until([&] { return links() == 2; });
  mesh_.box.advance_ms(61'000);
  EXPECT_EQ(mesh_.box.stats().limits["pending"].first, 0u);
  EXPECT_EQ(mesh_.box.stats().limits["parked"].first, 0u);
  EXPECT_EQ(open_fds(), fds);
  EXPECT_LE(live_heap_bytes(), heap + (4 << 20));
  EXPECT_GT(violations(), 50u);
}

INSTANTIATE_TEST_SUITE_P(Ways, Garbage, ::testing::Values(Entrance::kUnix, Entrance::kLoopback, Entrance::kInbound),
                         [](const auto& way) {
                           return way.param == Entrance::kUnix       ? "Unix"
                                  : way.param == Entrance::kLoopback ? "Loopback"
                                                                     : "Inbound";
                         });

// The other agent may be the one that talks nonsense, on a connection that we made.
TEST(GarbageFromAnAgent, EndsItsCallsAndNothingElse) {
  for (const std::string& nonsense :
       {std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), hello("x").bytes(), request(1, {.service = "s"}).bytes(),
        welcome_frame().bytes() + request(1, {.service = "s"}).bytes(), welcome_frame().bytes() + control(FrameType::kCancel, 1).bytes(),
        with_byte(welcome_frame().bytes(), 15, 0x7F)}) {
    Mesh mesh;
    Wire local = mesh.server("local");
    mesh.serve_by({"local"});
    Listening agent = listen_tcp("127.0.0.1", 0).take();
    mesh.box.apply(set_cluster(2, {remote_endpoint(9, agent.port)}, "far"), set_service("far"), set_flow("far", 2));
    mesh.caller.send(request(1, {.service = "far"}));
    Wire wire;
    mesh.box.turn_until([&] {
      if (!wire.valid()) wire = Wire(UniqueFd(::accept(agent.fd.get(), nullptr, nullptr)));
      return wire.valid() && wire.has_frame();
    });
    wire.send_bytes(nonsense);
    mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
    EXPECT_EQ(mesh.caller.take().code(), Code::kUnavailable);
    EXPECT_EQ(mesh.box.engine.counters().protocol_violations, 1u);
    mesh.call(2, "local");
    local.send(response(local.take().id(), "still here"));
    EXPECT_EQ(mesh.answer().body, "still here");
  }
}

}  // namespace
}  // namespace ringside
