// One engine takes over from another: real sockets and rings stay where they are, requests go on in the other engine; and a new one that goes
// away changes nothing. How the two agree on what came of it is tested in handoff_outcome_test.cc.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "native/codec/protobuf_fields.h"
#include "native/shm/doorbell.h"
#include "native/shm/layout.h"
#include "native/test/fd/open_fds.h"
#include "native/test/engine/handover.h"

namespace ringside {
namespace {

using namespace testing;

TEST(Handoff, RequestsUnderWayEndInTheOtherEngine) {
  Handover world;
  world.call(11, "before");
  const WireFrame got = world.at(world.server);
  world.take_over();
  world.server.send(response(got.id(), "after"));
  const WireFrame reply = world.at(world.caller);
  EXPECT_EQ(reply.id(), 11u);
  EXPECT_EQ(reply.body, "after");
  world.call(12, "new");
  EXPECT_EQ(world.at(world.server).body, "new");
  EXPECT_FALSE(world.caller.has_ended());
  EXPECT_EQ(world.new_one->engine.counters().links_opened, 2u) << "counts go on";
  EXPECT_EQ(world.new_one->engine.counters().requests, 2u);
  EXPECT_EQ(world.old_one->engine.counters().links_closed, 0u);
}

TEST(Handoff, ARecordOfARequestThatMovedNamesItsMethodAndTrace) {
  Handover world;
  const std::string trace_id = "0af7651916cd43dd8448eb211c80319c";
  world.caller.send(request(11, {.service = "s", .method = "get", .traceparent = "00-" + trace_id + "-b7ad6b7169203331-01"}));
  const WireFrame got = world.at(world.server);
  world.take_over();
  world.server.send(response(got.id(), "", Code::kInternal));
  EXPECT_EQ(world.at(world.caller).code(), Code::kInternal);
  ASSERT_EQ(world.new_one->events.records.size(), 1u);
  EXPECT_EQ(world.new_one->events.records[0].method, "get");
  EXPECT_EQ(world.new_one->events.records[0].trace_id, trace_id);
}

TEST(Handoff, NoDescriptorIsHeldTwiceAfterwards) {
  Handover world;
  const size_t before = testing::open_fds();
  size_t of_an_engine = 0;
  {
    const EngineBox another;
    of_an_engine = testing::open_fds() - before;
  }
  world.take_over();
  EXPECT_EQ(testing::open_fds(), before + of_an_engine);
  world.new_one.reset();
  world.old_one.reset();
  world.caller = {};
  world.server = {};
  EXPECT_LT(testing::open_fds(), before);
}

TEST(Handoff, WhatIsNoSegmentAnyMoreCostsItsLinkOnly) {
  constexpr uint32_t kRingBytes = kMinRingBytes;
  const uint64_t handle = Handle{3, 1}.pack();
  Result<Segment> segment = Segment::create(kRingBytes);
  Result<AgentDoorbells> bells = AgentDoorbells::create();
  ASSERT_TRUE(segment);
  ASSERT_TRUE(bells);
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd far_end(ends[1]);
  // As the old engine leaves it when the link ends meanwhile, or as its app may.
  segment.value().punch_out();
  ReceivedFds fds;
  fds.fds[fds.count++] = UniqueFd(ends[0]);
  for (const int fd : {segment.value().fd(), bells.value().eventfd.get(), bells.value().pipe_write.get()}) {
    fds.fds[fds.count++] = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  }
  HandoffMessage message;
  message.step = HandoffStep::kDescriptors;
  message.parcels.push_back({handle, 0, kRingBytes, 4});
  DescriptorStore store;
  const Result<Unit> taken = store.take(message, &fds);
  ASSERT_TRUE(taken) << taken.error().text;
  EXPECT_EQ(store.links.at(handle).segment.ring_bytes(), 0u);

  // Where the state names the link all the same, its app meddles: it ends, and those beside it serve.
  Handover world;
  EngineState state = world.old_one->engine.export_state();
  MovedLink moved;
  moved.handle = handle;
  moved.kind = LinkKind::kShm;
  moved.role = LinkRole::kApp;
  moved.state = LinkState::kOpen;
  moved.app = "meddler";
  moved.ring_bytes = kRingBytes;
  state.links = {moved};
  state.listeners.clear();
  EngineBox box;
  const Result<Unit> imported = box.engine.import_state(state, &store);
  ASSERT_TRUE(imported) << imported.error().text;
  box.engine.resume_imported();
  box.turn();
  EXPECT_EQ(box.stats().links.size(), 0u);
  uint8_t byte;
  EXPECT_EQ(::recv(far_end.get(), &byte, 1, 0), 0) << "the app is told by the end of its socket";
}

TEST(Handoff, AHalfReadFrameIsReadOn) {
  Handover world;
  const std::string whole = request(21, {.service = "s", .method = "m"}, std::string(30'000, 'x')).bytes();
  world.caller.send_bytes(std::string_view(whole).substr(0, 20'000));
  world.old_one->turn(3);
  world.take_over();
  world.caller.send_bytes(std::string_view(whole).substr(20'000));
  EXPECT_EQ(world.at(world.server).body, std::string(30'000, 'x'));
}

TEST(Handoff, UnsentBytesLeaveInOrder) {
  Handover world;
  std::string body(kMaxFrameBodyBytes, 'y');
  for (uint64_t id = 1; id <= 40; id++) {
    world.call(id, body);
    world.old_one->turn(2);
  }
  world.take_over();
  for (uint64_t n = 1; n <= 40; n++) {
    const WireFrame got = world.at(world.server);
    ASSERT_EQ(got.body, body) << n;
    world.server.send(response(got.id()));
    EXPECT_EQ(world.at(world.caller).id(), n);
  }
}

TEST(Handoff, DeadlinesGoOn) {
  Handover world;
  world.call(31, "", 500);
  world.at(world.server);
  world.clock.advance_ms(300);
  world.take_over();
  world.clock.advance_ms(199);
  world.new_one->turn(2);
  EXPECT_FALSE(world.caller.has_frame());
  world.clock.advance_ms(2);
  EXPECT_EQ(world.at(world.caller).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(world.at(world.server).fixed.type, FrameType::kCancel);
}

TEST(Handoff, LateRepliesOfTheTimeBeforeStayStale) {
  Handover world;
  world.call(41, "", 100);
  const WireFrame old_request = world.at(world.server);
  world.clock.advance_ms(101);
  EXPECT_EQ(world.at(world.caller).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(world.at(world.server).fixed.type, FrameType::kCancel);
  world.take_over();
  world.call(42);
  world.at(world.server);
  world.server.send(response(old_request.id(), "late"));
  world.new_one->turn(3);
  EXPECT_FALSE(world.caller.has_frame());
  EXPECT_EQ(world.new_one->engine.counters().stale_replies, 1u);
}

TEST(Handoff, ParkedRequestsAreAskedAboutAgain) {
  Handover world("other");
  world.call(51, "waits");
  world.until([&] { return world.old_one->events.upcalls.size() == 1; });
  world.ask();  // here `s` has a flow
  world.new_one->apply(RemoveService{Direction::kOutbound, "s"});
  world.new_one->apply(TakeOverReady{});
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) world.new_one->engine.turn(1);
  });
  for (int i = 0; i < 5000 && world.old_one->events.handed_over == 0; i++) {
    world.old_one->engine.turn(1);
    world.old_one->collect();
  }
  done = true;
  other.join();
  world.new_one->collect();
  ASSERT_EQ(world.new_one->events.upcalls.size(), 1u);
  world.serve(*world.new_one);
  world.new_one->apply(resolve(world.new_one->events.upcalls[0].token));
  EXPECT_EQ(world.at(world.server).body, "waits");
}

TEST(Handoff, ABodyInPiecesGoesOnWithItsCredit) {
  Handover world;
  WireFrame first = request(61, {.service = "s", .method = "m"}, std::string(1'000, 'a'));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 2'000;
  world.caller.send(first);
  const WireFrame got = world.at(world.server);
  world.take_over();
  WireFrame rest = control(FrameType::kChunk, 61);
  rest.body = std::string(1'000, 'b');
  world.caller.send(rest);
  const WireFrame chunk = world.at(world.server);
  EXPECT_EQ(chunk.id(), got.id());
  EXPECT_EQ(chunk.body, std::string(1'000, 'b'));
}

TEST(Handoff, ANewProcessThatGoesAwayAtAnyStepChangesNothing) {
  for (int step = 0; step < 3; step++) {
    Handover world;
    world.call(71);
    const WireFrame got = world.at(world.server);
    if (step == 0) {
      world.new_one = std::make_unique<EngineBox>(EngineOptions{}, &world.clock);
      world.new_one->apply(TakeOver{world.path(), "test", 10'000});
      world.until([&] { return !world.old_one->events.asked.empty(); });
    } else {
      world.ask();
      if (step == 2) {  // ready, and gone before it answers anything
        world.new_one->apply(TakeOverReady{});
      }
    }
    world.new_one.reset();
    world.until([&] { return world.old_one->events.handoff_failures.size() == 1; });
    world.server.send(response(got.id(), "still here"));
    EXPECT_EQ(world.at(world.caller).body, "still here") << step;
    world.take_over();  // and another one may try
    world.call(72);
    world.at(world.server);
  }
}

TEST(Handoff, ASecondOneIsTurnedAwayInWords) {
  Handover world;
  world.ask();
  EngineBox third(EngineOptions{}, &world.clock);
  third.apply(TakeOver{world.path(), "third", 10'000});
  for (int i = 0; i < 100 && third.events.handoff_failures.empty(); i++) {
    world.old_one->turn();
    third.turn();
  }
  ASSERT_EQ(third.events.handoff_failures.size(), 1u);
  EXPECT_NE(third.events.handoff_failures[0].find("another takeover is under way"), std::string::npos);
}

TEST(HandoffState, SurvivesTheWayAndBack) {
  Handover world;
  world.call(91, "x", 1'000);
  world.at(world.server);
  const EngineState state = world.old_one->engine.export_state();
  ASSERT_EQ(state.links.size(), 2u);
  ASSERT_EQ(state.pendings.size(), 1u);
  const std::string bytes = encode_fields(state);
  EngineState back;
  ASSERT_TRUE(decode_fields(bytes, &back));
  EXPECT_EQ(encode_fields(back), bytes);
  for (size_t n = 0; n < bytes.size(); n++) {
    EngineState cut;
    decode_fields(std::string_view(bytes).substr(0, n), &cut);  // must not crash; a cut between two fields is no error
  }
}

}  // namespace
}  // namespace ringside
