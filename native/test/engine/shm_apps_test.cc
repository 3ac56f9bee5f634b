// Apps on rings, with the engine in between: doorbells, bodies that are never copied whole, full rings, hostile records, and
// what an app's death proves about the requests in its ring.
#include <gtest/gtest.h>
#include <poll.h>

#include "native/shm/doorbell.h"
#include "native/shm/layout.h"
#include "native/shm/ring.h"
#include "native/shm/segment.h"
#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

/// The app's end of a ring link, as honest as the test lets it be.
struct RingApp {
  Wire wire;
  Segment segment;
  UniqueFd bell_out;
  UniqueFd bell_in;
  RingProducer out;
  RingConsumer in;
  std::deque<WireFrame> frames;

  RingApp(EngineBox& box, const std::string& name) : wire(Wire::unix_socket(box.path())) {
    wire.send(hello(name, kMinRingBytes));
    box.turn(2);
    EXPECT_EQ(wire.take().fixed.value, kMinRingBytes);
    EXPECT_EQ(wire.fds.count, 3u);
    segment = Segment::open(std::move(wire.fds.fds[0]), kMinRingBytes).take();
    bell_out = std::move(wire.fds.fds[1]);
    bell_in = std::move(wire.fds.fds[2]);
    out.attach(segment.control(shm::kAppToAgent), segment.data(shm::kAppToAgent), kMinRingBytes);
    in.attach(segment.control(shm::kAgentToApp), segment.data(shm::kAgentToApp), kMinRingBytes);
  }
  bool put(const std::string& record) {
    uint8_t* place = out.reserve(static_cast<uint32_t>(record.size()));
    if (place == nullptr) return false;
    std::memcpy(place, record.data(), record.size());
    out.commit();
    return true;
  }
  void publish() {
    const bool asleep = out.publish();
    EXPECT_TRUE(!asleep || ring_eventfd(bell_out.get()));
  }
  void send(const WireFrame& frame) {
    ASSERT_TRUE(put(frame.bytes()));
    publish();
  }
  /// Copies out what is there; with `release` the agent learns of it.
  void receive(bool release = true) {
    RecordView record;
    while (in.next(&record) == RingRead::kRecord) {
      WireFrame frame;
      ASSERT_EQ(decode_fixed(record.data, &frame.fixed), nullptr);
      const char* bytes = reinterpret_cast<const char*>(record.data) + kFixedBytes;
      frame.header.assign(bytes, frame.fixed.header_bytes);
      frame.body.assign(bytes + frame.fixed.header_bytes, frame.fixed.body_bytes);
      frames.push_back(std::move(frame));
    }
    EXPECT_TRUE(!release || !in.release() || ring_eventfd(bell_out.get()));
  }
  WireFrame take() {
    receive();
    if (frames.empty()) {
      ADD_FAILURE() << "no frame came";
      return {};
    }
    WireFrame first = std::move(frames.front());
    frames.pop_front();
    return first;
  }
};

struct RingMesh {
  EngineBox box;
  std::unique_ptr<RingApp> caller;
  std::unique_ptr<RingApp> server;

  explicit RingMesh(EngineOptions options = {}) : box(std::move(options)) {
    box.listen_unix_socket();
    caller = std::make_unique<RingApp>(box, "caller");
    server = std::make_unique<RingApp>(box, "server");
    serve_by({"server"});
  }
  void serve_by(const std::vector<std::string>& names) {
    std::vector<EndpointSpec> endpoints;
    uint64_t id = 100;
    for (const std::string& name : names) endpoints.push_back(local_endpoint(id++, box.link_of(name)));
    box.apply(set_cluster(1, std::move(endpoints)), set_service("s"), set_flow("s", 1));
  }
  void call(uint64_t id, std::string body = {}) {
    caller->send(request(id, {.service = "s"}, std::move(body)));
    box.turn();
  }
};

TEST(ShmApps, CallsOfEverySizeGoFromRingToRing) {
  RingMesh mesh;
  for (uint64_t id = 1; id <= 300; id++) {
    const size_t bytes = id % 5 == 0 ? kMaxFrameBodyBytes : (id * 1237) % 9000;
    mesh.call(id, std::string(bytes, static_cast<char>(id)));
    const WireFrame got = mesh.server->take();
    ASSERT_EQ(got.body, std::string(bytes, static_cast<char>(id)));
    mesh.server->send(response(got.id(), got.body));
    mesh.box.turn();
    const WireFrame reply = mesh.caller->take();
    ASSERT_EQ(reply.id(), id);
    ASSERT_EQ(reply.body, got.body);
    mesh.box.turn();  // space that was given back
  }
}

TEST(ShmApps, ABodyInARingReachesASlowSocketWhole) {
  RingMesh mesh;
  Wire socket_server = mesh.box.app("socket server");
  mesh.serve_by({"socket server"});
  std::vector<std::string> bodies;
  for (uint64_t id = 1; id <= 40; id++) {  // more than its socket takes; the ring's memory is used again meanwhile
    bodies.push_back(std::string(40'000, static_cast<char>('A' + id)));
    mesh.call(id, bodies.back());
  }
  EXPECT_GT(mesh.box.stats().links.at(2).outbound_bytes, 0u);
  size_t got = 0;
  mesh.box.turn_until([&] {
    socket_server.receive();
    for (; !socket_server.frames.empty(); socket_server.frames.pop_front(), got++) {
      EXPECT_EQ(socket_server.frames.front().body, bodies.at(got));
    }
    return got == bodies.size();
  });
}

TEST(ShmApps, AFullRingWaitsForItsAppAndThenGoesOn) {
  RingMesh mesh;
  for (uint64_t id = 1; id <= 30; id++) mesh.call(id, std::string(30'000, static_cast<char>(id)));
  EXPECT_GT(mesh.box.stats().links.at(1).outbound_bytes, 0u);
  uint64_t next = 1;
  for (int round = 0; round < 30 && next <= 30; round++) {
    mesh.server->receive();
    for (; !mesh.server->frames.empty(); mesh.server->frames.pop_front(), next++) {
      ASSERT_EQ(mesh.server->frames.front().body, std::string(30'000, static_cast<char>(next)));
    }
    mesh.box.turn();
  }
  EXPECT_EQ(next, 31u);
  EXPECT_EQ(mesh.box.stats().links.at(1).outbound_bytes, 0u);
}

TEST(ShmApps, AnAppThatDiesProvesByItsTailWhatHasNotRun) {
  RingMesh mesh;
  mesh.call(1);
  mesh.server->receive();  // copied out and released: it may have run
  mesh.call(2);
  mesh.server->receive(false);  // looked at, not released
  mesh.call(3);
  mesh.server->wire.close();
  mesh.box.turn(2);
  std::map<uint64_t, WireFrame> replies;
  mesh.caller->receive();
  for (const WireFrame& frame : mesh.caller->frames) replies[frame.id()] = frame;
  ASSERT_EQ(replies.size(), 3u);
  for (const auto& [id, reply] : replies) {
    EXPECT_EQ(reply.code(), Code::kUnavailable);
    EXPECT_EQ(reply.not_run(), id != 1) << id;
  }
}

TEST(ShmApps, AnAppThatIsThrownOutButAliveProvesNothing) {
  RingMesh mesh;
  mesh.call(1);
  mesh.box.apply(CloseLink{mesh.box.link_of("server"), "enough"});
  const WireFrame reply = mesh.caller->take();
  EXPECT_EQ(reply.code(), Code::kUnavailable);
  EXPECT_FALSE(reply.not_run()) << "it may yet read its ring";
}

TEST(ShmApps, WhatAnAppWroteBeforeItDiedStillCounts) {
  RingMesh mesh;
  mesh.call(1);
  const uint64_t id = mesh.server->take().id();
  ASSERT_TRUE(mesh.server->put(response(id, "last words").bytes()));
  mesh.server->out.publish();  // without ringing
  mesh.server->wire.close();
  mesh.box.turn(2);
  EXPECT_EQ(mesh.caller->take().body, "last words");
}

TEST(ShmApps, AHostileRecordEndsThatLinkOnly) {
  for (const std::string& record : {std::string("short"), request(1, {.service = "s"}).bytes() + "x",
                                    control(FrameType::kWelcome, 1).bytes(), std::string(kFixedBytes, '\0')}) {
    RingMesh mesh;
    ASSERT_TRUE(mesh.caller->put(request(1, {.service = "s"}, std::string(8000, 'b')).bytes()));
    ASSERT_TRUE(mesh.caller->put(record));
    mesh.caller->publish();
    mesh.box.turn(3);
    EXPECT_TRUE(mesh.caller->wire.has_ended());
    EXPECT_EQ(mesh.box.engine.counters().protocol_violations, 1u);
    // The request in front of it was forwarded whole, although the ring it lay in is gone, then cancelled.
    EXPECT_EQ(mesh.server->take().body, std::string(8000, 'b'));
    EXPECT_EQ(mesh.server->take().fixed.type, FrameType::kCancel);
    EXPECT_FALSE(mesh.server->wire.has_ended());
    EXPECT_EQ(mesh.box.stats().limits["links"].first, 1u);
  }
}

TEST(ShmApps, PositionsOutOfRangeEndTheLinkInsteadOfASpin) {
  RingMesh mesh;
  store_u64(mesh.caller->segment.control(shm::kAppToAgent) + shm::kHeadAt, UINT64_MAX - 7);
  ASSERT_TRUE(ring_eventfd(mesh.caller->bell_out.get()));
  mesh.box.turn(3);
  EXPECT_TRUE(mesh.caller->wire.has_ended());

  for (uint64_t id = 1; id <= 3; id++) {
    Wire other = mesh.box.app("other");
    store_u64(mesh.server->segment.control(shm::kAgentToApp) + shm::kTailAt, 4);
    for (uint64_t n = 1; n <= 6; n++) {
      other.send(request(n, {.service = "s"}, std::string(60'000, 'x')));
      mesh.box.turn();
    }
  }
  EXPECT_TRUE(mesh.server->wire.has_ended());
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(ShmApps, TheDoorbellAloneWakesTheEngineAndANeedlessOneHarmsNothing) {
  RingMesh mesh;
  for (int i = 0; i < 5; i++) {
    ASSERT_TRUE(ring_eventfd(mesh.caller->bell_out.get()));
    mesh.box.turn();
  }
  for (uint64_t id = 1; id <= 100; id++) {
    ASSERT_TRUE(mesh.caller->put(request(id, {.service = "s"}).bytes()));
    ASSERT_TRUE(mesh.caller->out.publish()) << "the engine sleeps each time";
    ASSERT_TRUE(ring_eventfd(mesh.caller->bell_out.get()));
    mesh.box.turn();
    EXPECT_EQ(mesh.server->take().fixed.type, FrameType::kRequest);
    pollfd bell{mesh.server->bell_in.get(), POLLIN, 0};
    const bool was_asleep = mesh.server->in.arm_waiting() && id > 1;
    EXPECT_TRUE(!was_asleep || ::poll(&bell, 1, 0) == 1) << "and rings the server";
    char bytes[64];
    while (::poll(&bell, 1, 0) == 1) ASSERT_GT(::read(bell.fd, bytes, sizeof bytes), 0);
  }
}

TEST(ShmApps, ManyRecordsBeyondOneTurnsBudgetAreAllServed) {
  EngineOptions options;
  options.ring_bytes = kMinRingBytes;
  RingMesh mesh(std::move(options));
  uint64_t id = 0;
  while (mesh.caller->put(request(id + 1, {.service = "s"}, std::string(100, 'x')).bytes())) id++;
  mesh.caller->publish();
  uint64_t got = 0;
  for (int i = 0; i < 50 && got < id; i++) {
    mesh.box.turn();
    mesh.server->receive();
    got += mesh.server->frames.size();
    mesh.server->frames.clear();
  }
  EXPECT_GT(id, 1000u);
  EXPECT_EQ(got, id);
}

}  // namespace
}  // namespace ringside
