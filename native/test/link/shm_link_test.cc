// The agent's end of a ring: what a hostile app may put into it, what happens when it is full, who is woken, and the proof
// that a record was never taken. The app's end is driven by the ring's own classes over the same memory.
#include "native/link/shm_link.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "native/shm/layout.h"
#include "native/test/link/frames.h"

namespace ringside {
namespace {

using testing::frame_of;
using testing::KeepingSink;
using testing::OwnedFrame;

constexpr uint32_t kRing = kMinRingBytes;
constexpr uint64_t kMaxOutbound = 1 << 20;

struct ShmFixture {
  TurnArena arena{1 << 20};
  UniqueFd app_socket;
  UniqueFd pipe_read;
  UniqueFd eventfd;
  Segment app_segment;
  RingProducer app_out;
  RingConsumer app_in;
  std::unique_ptr<ShmLink> link;
  KeepingSink sink;

  ShmFixture() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    app_socket.reset(fds[1]);
    Segment segment = Segment::create(kRing).take();
    app_segment = Segment::open(UniqueFd(::dup(segment.fd())), kRing).take();
    AgentDoorbells bells = AgentDoorbells::create().take();
    pipe_read = std::move(bells.pipe_read);
    app_out.attach(app_segment.control(shm::kAppToAgent), app_segment.data(shm::kAppToAgent), kRing);
    app_in.attach(app_segment.control(shm::kAgentToApp), app_segment.data(shm::kAgentToApp), kRing);
    link = std::make_unique<ShmLink>(UniqueFd(fds[0]), std::move(segment), std::move(bells), &arena, kMaxOutbound);
    link->state = LinkState::kOpen;
  }
  void app_put(const std::string& record) {
    uint8_t* place = app_out.reserve(static_cast<uint32_t>(record.size()));
    ASSERT_NE(place, nullptr);
    std::memcpy(place, record.data(), record.size());
    app_out.commit();
    app_out.publish();
  }
  ReadResult read(size_t budget = 256 * 1024) { return link->read(&sink, budget); }
  std::vector<std::string> app_take(bool release = true) {
    std::vector<std::string> records;
    RecordView record;
    while (app_in.next(&record) == RingRead::kRecord) {
      records.emplace_back(reinterpret_cast<const char*>(record.data), record.size);
    }
    if (release) agent_was_rung = app_in.release();
    return records;
  }
  bool app_is_rung() {
    pollfd entry{pipe_read.get(), POLLIN, 0};
    if (::poll(&entry, 1, 0) != 1) return false;
    char bytes[16];
    return ::read(pipe_read.get(), bytes, sizeof bytes) > 0;
  }
  bool agent_was_rung = false;
};

TEST(ShmLinkRead, RecordsBecomeFramesSmallAndLarge) {
  ShmFixture f;
  const std::vector<std::string> frames{frame_of(1), frame_of(2, 4000, 50), frame_of(3, 5000, 100),
                                        frame_of(4, kMaxFrameBodyBytes, kMaxHeaderBytes)};
  for (const std::string& frame : frames) f.app_put(frame);
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_EQ(f.sink.frames, frames);
  EXPECT_EQ(f.link->frames_in, 4u);
}

TEST(ShmLinkRead, WhatIsNoFrameIsAViolation) {
  std::string long_header = frame_of(1, 0, 10);
  store_u32(reinterpret_cast<uint8_t*>(&long_header[8]), 11);
  std::string bad_magic = frame_of(1);
  bad_magic[0] = 'G';
  std::string huge = frame_of(1);
  store_u32(reinterpret_cast<uint8_t*>(&huge[12]), UINT32_MAX);
  for (const std::string& record : {std::string(), std::string(31, 'x'), frame_of(1, 5) + "x",
                                    frame_of(1, 5).substr(0, 36), long_header, bad_magic, huge}) {
    ShmFixture f;
    f.app_put(frame_of(7));
    f.app_put(record);
    EXPECT_EQ(f.read(), ReadResult::kViolation);
    EXPECT_FALSE(f.link->reason.empty());
    EXPECT_EQ(f.sink.frames.size(), 1u);
  }
}

TEST(ShmLinkRead, PositionsThatMakeNoSenseAreAViolation) {
  for (const uint64_t head : {uint64_t{1}, uint64_t{kRing} + 8, UINT64_MAX - 7}) {
    ShmFixture f;
    store_u64(f.app_segment.control(shm::kAppToAgent) + shm::kHeadAt, head);
    EXPECT_EQ(f.read(), ReadResult::kViolation) << head;
    EXPECT_TRUE(f.link->end_turn()) << "it must be read again, not slept upon";
  }
}

TEST(ShmLinkRead, AHeadIsPrivateWhateverTheAppWritesLater) {
  ShmFixture f;
  struct Changing final : FrameSink {
    ShmFixture* fixture;
    std::string seen;
    bool on_frame(Link*, Frame& frame) override {
      std::memset(fixture->app_segment.data(shm::kAppToAgent), 0xEE, kRing);
      seen.assign(reinterpret_cast<const char*>(frame.head), frame.head_bytes);
      return true;
    }
  } sink;
  sink.fixture = &f;
  const std::string frame = frame_of(3, 5000, 100);
  f.app_put(frame);
  EXPECT_EQ(f.link->read(&sink, 1 << 20), ReadResult::kDrained);
  EXPECT_EQ(sink.seen, frame.substr(0, kFixedBytes + 100));
}

TEST(ShmLinkRead, TheBudgetEndsATurnAndSpaceComesBackAtItsEnd) {
  ShmFixture f;
  for (uint64_t id = 0; id < 3; id++) f.app_put(frame_of(id, 20'000));
  EXPECT_EQ(f.read(20'000), ReadResult::kMore);
  EXPECT_EQ(f.sink.frames.size(), 1u);
  EXPECT_EQ(f.app_out.used_bytes(), 3 * shm::record_bytes(kFixedBytes + 20'000)) << "frames may still point into it";
  EXPECT_TRUE(f.link->end_turn()) << "there is more";
  EXPECT_EQ(f.app_out.used_bytes(), 2 * shm::record_bytes(kFixedBytes + 20'000));
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_FALSE(f.link->end_turn());
  EXPECT_EQ(f.app_out.used_bytes(), 0u);
}

TEST(ShmLinkRead, EndTurnArmsTheDoorbellAndSeesWhatCameMeanwhile) {
  ShmFixture f;
  EXPECT_FALSE(f.link->end_turn());
  uint8_t* place = f.app_out.reserve(kFixedBytes);
  std::memcpy(place, frame_of(1).data(), kFixedBytes);
  f.app_out.commit();
  EXPECT_TRUE(f.app_out.publish()) << "the agent sleeps: ring";
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  f.app_put(frame_of(2));  // after the last look
  EXPECT_TRUE(f.link->end_turn());
  EXPECT_EQ(load_u32(f.app_segment.control(shm::kAppToAgent) + shm::kConsumerWaitingAt), 0u) << "awake: no ringing";
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_EQ(f.sink.frames.size(), 2u);
}

TEST(ShmLinkRead, AnAppThatWaitsForSpaceIsRung) {
  ShmFixture f;
  while (f.app_out.reserve(60'000) != nullptr) f.app_put(frame_of(1, 60'000 - kFixedBytes));
  ASSERT_TRUE(f.app_out.arm_space_wanted(60'000));
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_FALSE(f.app_is_rung());
  f.link->end_turn();
  EXPECT_TRUE(f.app_is_rung());
  EXPECT_NE(f.app_out.reserve(60'000), nullptr);
}

TEST(ShmLinkWrite, ABatchBecomesVisibleWithTheFlushAndRingsOnceAtTheEndOfTheTurn) {
  ShmFixture f;
  ASSERT_TRUE(f.app_in.arm_waiting());
  OwnedFrame a(frame_of(1, 10));
  OwnedFrame b(frame_of(2, 20), true);
  ASSERT_TRUE(f.link->append(a.frame, false));
  ASSERT_TRUE(f.link->append(b.frame, false));
  EXPECT_TRUE(f.app_take(false).empty());
  EXPECT_TRUE(f.link->flush());
  EXPECT_FALSE(f.app_is_rung());
  f.link->end_turn();
  EXPECT_TRUE(f.app_is_rung());
  EXPECT_EQ(f.app_take(), (std::vector<std::string>{a.bytes(), b.bytes()}));
  ASSERT_TRUE(f.link->append(a.frame, false));
  EXPECT_TRUE(f.link->flush());
  f.link->end_turn();
  EXPECT_FALSE(f.app_is_rung()) << "the app is awake";
}

TEST(ShmLinkWrite, WhatFindsNoRoomWaitsAndFollowsWhenTheAppHasRead) {
  ShmFixture f;
  std::vector<std::string> expected;
  for (uint64_t id = 0; id < 20; id++) {
    OwnedFrame frame(frame_of(id, 30'000), id % 2);
    expected.push_back(frame.bytes());
    ASSERT_TRUE(f.link->append(frame.frame, false));
    ASSERT_TRUE(f.link->flush());
    f.link->end_turn();
  }
  EXPECT_GT(f.link->outbound_bytes(), 300'000u);
  std::vector<std::string> got;
  for (int round = 0; round < 20 && got.size() < expected.size(); round++) {
    for (std::string& record : f.app_take()) got.push_back(std::move(record));
    EXPECT_EQ(f.agent_was_rung, got.size() < expected.size()) << "it waits for space as long as something is queued";
    ASSERT_TRUE(f.link->on_writable());
    f.link->end_turn();
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(f.link->outbound_bytes(), 0u);
}

TEST(ShmLinkWrite, WhatWaitsIsBoundedButAStatusIsTaken) {
  ShmFixture f;
  OwnedFrame large(frame_of(1, kMaxFrameBodyBytes));
  int taken = 0;
  while (f.link->append(large.frame, false)) taken++;
  EXPECT_GT(taken, 15);
  EXPECT_LE(f.link->outbound_bytes(), kMaxOutbound);
  OwnedFrame status(frame_of(2));
  while (f.link->append(status.frame, false)) taken++;
  EXPECT_LE(f.link->outbound_bytes(), kMaxOutbound);
  EXPECT_TRUE(f.link->append(status.frame, true));
  EXPECT_TRUE(f.link->flush());
}

TEST(ShmLinkWrite, NeverSentIsWhatTheTailHasNotPassed) {
  ShmFixture f;
  std::vector<uint64_t> ends;
  for (uint64_t id = 0; id < 20; id++) {  // the ring wraps and a part waits in the queue
    OwnedFrame frame(frame_of(id, 20'000));
    ASSERT_TRUE(f.link->append(frame.frame, false));
    ends.push_back(f.link->end_position());
    EXPECT_TRUE(f.link->never_sent(ends.back()));
    EXPECT_EQ(f.link->queued_frame(ends.back(), frame.bytes().size()), nullptr) << "nothing is taken back from an app";
  }
  ASSERT_TRUE(f.link->flush());
  size_t taken = 0;
  RecordView record;
  while (taken < ends.size()) {
    if (f.app_in.next(&record) == RingRead::kEmpty) {
      ASSERT_TRUE(f.link->on_writable());
      ASSERT_EQ(f.app_in.next(&record), RingRead::kRecord);
    }
    EXPECT_TRUE(f.link->never_sent(ends[taken])) << "looked at, not released";
    f.app_in.release();
    taken++;
    // A bound from below: it may say "may have run" a record early because of a pad, never "has not" too late.
    EXPECT_FALSE(f.link->never_sent(ends[taken - 1])) << taken;
    EXPECT_EQ(f.link->never_sent(ends.back()), taken < ends.size()) << taken;
  }
}

TEST(ShmLinkWrite, ATailThatMakesNoSenseEndsTheLink) {
  for (const uint64_t tail : {uint64_t{4}, uint64_t{1} << 40, UINT64_MAX - 7}) {
    ShmFixture f;
    store_u64(f.app_segment.control(shm::kAgentToApp) + shm::kTailAt, tail);
    OwnedFrame frame(frame_of(1, 60'000));
    while (f.link->outbound_bytes() == 0) ASSERT_TRUE(f.link->append(frame.frame, false));
    EXPECT_FALSE(f.link->flush());
    EXPECT_EQ(f.link->reason, "the app's ring position makes no sense");
    EXPECT_TRUE(f.link->never_sent(f.link->end_position()));
  }
}

/// What an app that keeps its descriptor finds at the head of its ring once the link is gone.
uint64_t head_after_the_end(void (*before_the_end)(ShmLink& link)) {
  ShmFixture f;
  OwnedFrame frame(frame_of(1, 100));
  EXPECT_TRUE(f.link->append(frame.frame, false));
  EXPECT_TRUE(f.link->flush());
  EXPECT_NE(load_u64(f.app_segment.control(shm::kAgentToApp) + shm::kHeadAt), 0u);
  before_the_end(*f.link);
  f.link.reset();
  return load_u64(f.app_segment.control(shm::kAgentToApp) + shm::kHeadAt);
}

TEST(ShmLinkEnd, ThePagesAreGivenBackAlthoughTheAppKeepsTheDescriptor) {
  EXPECT_EQ(head_after_the_end([](ShmLink& link) { link.peer_closed = true; }), 0u) << "the app is gone";
  EXPECT_EQ(head_after_the_end([](ShmLink& link) { link.condemned = true; }), 0u) << "the app broke the protocol";
}

TEST(ShmLinkEnd, AnAppThatIsWellStillFindsItsLastReplies) {
  EXPECT_NE(head_after_the_end([](ShmLink&) {}), 0u);
}

}  // namespace
}  // namespace ringside
