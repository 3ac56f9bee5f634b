// The link over a byte stream: frames cut anywhere, writes taken in any piece, one write per turn, bounds, and the proof
// that a frame never left.
#include "native/link/stream_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <random>

#include "native/test/link/frames.h"

namespace ringside {
namespace {

using testing::frame_of;
using testing::KeepingSink;
using testing::OwnedFrame;
using testing::ScriptedChannel;

constexpr size_t kStreamBudget = 256 * 1024;
constexpr uint64_t kStreamOutbound = 1 << 20;

struct StreamFixture {
  TurnArena arena{1 << 20};
  ScriptedChannel* channel = new ScriptedChannel();
  StreamLink link;
  KeepingSink sink;

  explicit StreamFixture(uint64_t max_outbound = kStreamOutbound)
      : link(LinkKind::kTcp, LinkRole::kPeer, std::unique_ptr<Channel>(channel), &arena, max_outbound) {
    link.state = LinkState::kOpen;
  }
  ReadResult read() {
    const ReadResult result = link.read(&sink, kStreamBudget);
    arena.reset();
    return result;
  }
};

TEST(StreamLinkRead, AFrameCutAtEveryPositionArrivesWhole) {
  const std::string frames = frame_of(1, 20, 10) + frame_of(2) + frame_of(3, 5);
  for (size_t cut = 0; cut <= frames.size(); cut++) {
    StreamFixture f;
    for (const std::string& piece : {frames.substr(0, cut), frames.substr(cut)}) {
      if (piece.empty()) continue;
      f.channel->in.push_back(piece);
      EXPECT_EQ(f.read(), ReadResult::kDrained);
    }
    ASSERT_EQ(f.sink.frames, (std::vector<std::string>{frame_of(1, 20, 10), frame_of(2), frame_of(3, 5)})) << cut;
    EXPECT_EQ(f.link.partial_bytes(), 0u);
    EXPECT_EQ(f.link.frames_in, 3u);
    EXPECT_EQ(f.link.bytes_in, frames.size());
  }
}

TEST(StreamLinkRead, ByteByByte) {
  const std::string frames = frame_of(1, 20, 10) + frame_of(2, 300);
  StreamFixture f;
  for (const char byte : frames) {
    f.channel->in.push_back(std::string(1, byte));
    ASSERT_EQ(f.read(), ReadResult::kDrained);
  }
  EXPECT_EQ(f.sink.frames, (std::vector<std::string>{frame_of(1, 20, 10), frame_of(2, 300)}));
}

TEST(StreamLinkRead, ManyFramesInOneReadTakeOneRead) {
  StreamFixture f;
  std::string all;
  for (uint64_t id = 0; id < 1000; id++) all += frame_of(id, 40);
  f.channel->in.push_back(all);
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_EQ(f.sink.frames.size(), 1000u);
  EXPECT_EQ(f.channel->reads, 1) << "a short read emptied the socket";
}

TEST(StreamLinkRead, TheBudgetEndsATurnAndNothingIsLost) {
  StreamFixture f;
  std::string all;
  for (uint64_t id = 0; id < 20; id++) all += frame_of(id, kMaxFrameBodyBytes, kMaxHeaderBytes);
  f.channel->in.push_back(all);
  EXPECT_EQ(f.read(), ReadResult::kMore);
  EXPECT_LT(f.sink.frames.size(), 5u);
  int turns = 1;
  while (f.read() == ReadResult::kMore) turns++;
  ASSERT_EQ(f.sink.frames.size(), 20u);
  EXPECT_GT(turns, 4);
  for (uint64_t id = 0; id < 20; id++) EXPECT_EQ(f.sink.frames[id], frame_of(id, kMaxFrameBodyBytes, kMaxHeaderBytes));
}

TEST(StreamLinkRead, TheEndIsReadAtOnceWhenThePollerHasToldOfIt) {
  StreamFixture f;
  f.channel->in.push_back(frame_of(1));
  f.channel->ended = true;
  f.link.hung_up = true;
  EXPECT_EQ(f.read(), ReadResult::kClosed);
  EXPECT_EQ(f.sink.frames.size(), 1u);
  EXPECT_EQ(f.link.reason, "the peer closed the connection");
}

TEST(StreamLinkRead, AnEndInTheMiddleOfAFrameIsToldApart) {
  StreamFixture f;
  f.channel->in.push_back(frame_of(1, 10).substr(0, 40));
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_EQ(f.link.partial_bytes(), 40u);
  f.channel->ended = true;
  EXPECT_EQ(f.read(), ReadResult::kClosed);
  EXPECT_EQ(f.link.reason, "the peer closed the connection in the middle of a frame");
}

TEST(StreamLinkRead, AnErrorOfTheSocketClosesWithItsReason) {
  StreamFixture f;
  f.channel->read_error = ECONNRESET;
  EXPECT_EQ(f.read(), ReadResult::kClosed);
  EXPECT_NE(f.link.reason.find(std::strerror(ECONNRESET)), std::string::npos);
}

TEST(StreamLinkRead, GarbageIsRefusedWithItsFirstByte) {
  for (const std::string& garbage : {std::string("G"), std::string("\x16\x03\x01"), std::string("\xF5\x00", 2),
                                     std::string("\x00", 1), frame_of(1, 5) + "x"}) {
    StreamFixture f;
    f.channel->in.push_back(garbage);
    EXPECT_EQ(f.read(), ReadResult::kViolation) << garbage;
    EXPECT_FALSE(f.link.reason.empty());
  }
}

TEST(StreamLinkRead, ABadFixedPartIsRefusedBeforeItsBodyComes) {
  for (const auto& [at, value] : std::vector<std::pair<size_t, char>>{
           {2, 2}, {3, 0}, {3, 13}, {5, 17}, {7, 1}, {11, 1}, {15, 1}}) {
    StreamFixture f;
    std::string bad = frame_of(1);
    bad[at] = value;
    f.channel->in.push_back(frame_of(7) + bad);
    EXPECT_EQ(f.read(), ReadResult::kViolation) << at;
    EXPECT_EQ(f.sink.frames.size(), 1u) << "what came before still counts";
  }
}

TEST(StreamLinkRead, ASinkThatStopsLeavesTheRest) {
  StreamFixture f;
  f.sink.stop_after = 1;
  f.channel->in.push_back(frame_of(1) + frame_of(2, 3));
  EXPECT_EQ(f.read(), ReadResult::kDrained);
  EXPECT_EQ(f.sink.frames.size(), 1u);
  EXPECT_EQ(f.link.partial_bytes(), kFixedBytes + 3);
  StreamFixture g;
  g.sink.stop_after = 1;
  g.channel->in.push_back(frame_of(1));
  EXPECT_EQ(g.read(), ReadResult::kDrained);
  EXPECT_EQ(g.link.partial_bytes(), 0u);
}

TEST(StreamLinkWrite, ATurnLeavesInOneWriteAndNeighboursInOnePiece) {
  StreamFixture f;
  std::string both = frame_of(1, 10) + frame_of(2, 20);
  OwnedFrame first(both.substr(0, kFixedBytes + 10));
  // Two frames that lie behind each other, as after reading them, and one whose body is elsewhere.
  Frame a;
  Frame b;
  auto* p = reinterpret_cast<uint8_t*>(both.data());
  for (Frame* frame : {&a, &b}) {
    frame->head = frame == &a ? p : p + kFixedBytes + 10;
    decode_fixed(frame->head, &frame->fixed);
    frame->head_bytes = kFixedBytes;
    frame->body = frame->head + kFixedBytes;
    frame->body_bytes = frame->fixed.body_bytes;
  }
  OwnedFrame split(frame_of(3, 30), true);
  ASSERT_TRUE(f.link.append(a, false));
  ASSERT_TRUE(f.link.append(b, false));
  ASSERT_TRUE(f.link.append(split.frame, false));
  EXPECT_EQ(f.channel->writes, 0);
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.channel->part_counts, std::vector<int>{3});
  EXPECT_EQ(f.channel->out, both + split.bytes());
  EXPECT_EQ(f.link.frames_out, 3u);
  EXPECT_EQ(f.link.bytes_out, f.channel->out.size());
  EXPECT_EQ(f.link.outbound_bytes(), 0u);
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.channel->writes, 1) << "nothing to write";
}

TEST(StreamLinkWrite, MorePiecesThanOneCallTakesStillArrive) {
  StreamFixture f;
  std::vector<std::unique_ptr<OwnedFrame>> frames;
  std::string expected;
  for (uint64_t id = 0; id < 1500; id++) {
    frames.push_back(std::make_unique<OwnedFrame>(frame_of(id, 1 + id % 7), true));
    expected += frames.back()->bytes();
    ASSERT_TRUE(f.link.append(frames.back()->frame, false));
  }
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.channel->out, expected);
  EXPECT_EQ(f.channel->writes, 3);
}

TEST(StreamLinkWrite, WritesTakenInPiecesOfEverySizeKeepTheOrder) {
  for (size_t piece = 1; piece <= 150; piece++) {
    StreamFixture f;
    f.channel->room_per_write = [&, n = 0]() mutable { return n++ % 2 == 0 ? piece : 0; };
    std::string expected;
    for (uint64_t round = 0; round < 4; round++) {
      OwnedFrame a(frame_of(round * 2, 17, 3), true);
      OwnedFrame b(frame_of(round * 2 + 1));
      ASSERT_TRUE(f.link.append(a.frame, false));
      ASSERT_TRUE(f.link.append(b.frame, false));
      expected += a.bytes() + b.bytes();
      ASSERT_TRUE(f.link.flush());
      // The frames' memory goes here: nothing may point into it any more.
    }
    while (f.link.wants_writable()) ASSERT_TRUE(f.link.on_writable());
    ASSERT_EQ(f.channel->out, expected) << piece;
    EXPECT_EQ(f.link.outbound_bytes(), 0u);
    EXPECT_EQ(f.link.end_position(), expected.size());
  }
}

TEST(StreamLinkWrite, WhatWaitsIsBoundedButAStatusIsTaken) {
  StreamFixture f(100);
  f.channel->room_per_write = [] { return 0; };
  OwnedFrame frame(frame_of(1, 18));  // 50 bytes
  EXPECT_TRUE(f.link.append(frame.frame, false));
  EXPECT_TRUE(f.link.append(frame.frame, false));
  EXPECT_FALSE(f.link.append(frame.frame, false)) << "gathered counts, too";
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.link.outbound_bytes(), 100u);
  EXPECT_FALSE(f.link.append(frame.frame, false));
  EXPECT_EQ(f.link.frames_out, 2u);
  EXPECT_TRUE(f.link.append(frame.frame, true));
  EXPECT_EQ(f.link.outbound_bytes(), 150u);
  f.channel->room_per_write = [] { return SIZE_MAX; };
  EXPECT_TRUE(f.link.on_writable());
  EXPECT_EQ(f.channel->out.size(), 150u);
  EXPECT_TRUE(f.link.append(frame.frame, false));
}

TEST(StreamLinkWrite, NothingIsWrittenBeforeTheConnectionStands) {
  StreamFixture f;
  f.link.state = LinkState::kConnecting;
  OwnedFrame frame(frame_of(1));
  EXPECT_TRUE(f.link.append(frame.frame, false));
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.channel->writes, 0);
  EXPECT_FALSE(f.link.wants_writable());
  EXPECT_TRUE(f.link.never_sent(f.link.end_position()));
  f.link.state = LinkState::kOpening;
  EXPECT_TRUE(f.link.flush());
  EXPECT_EQ(f.channel->out, frame.bytes());
}

TEST(StreamLinkWrite, NeverSentHoldsUntilTheLastByteWasTaken) {
  const size_t total = 3 * (kFixedBytes + 10);
  for (size_t taken = 0; taken <= total; taken++) {
    StreamFixture f;
    f.channel->room_per_write = [&, first = true]() mutable { return std::exchange(first, false) ? taken : 0; };
    std::vector<uint64_t> ends;
    std::vector<std::string> bytes;
    {
      OwnedFrame frames[] = {OwnedFrame(frame_of(1, 10)), OwnedFrame(frame_of(2, 10), true), OwnedFrame(frame_of(3, 10))};
      for (OwnedFrame& frame : frames) {
        ASSERT_TRUE(f.link.append(frame.frame, false));
        ends.push_back(f.link.end_position());
        bytes.push_back(frame.bytes());
      }
      ASSERT_TRUE(f.link.flush());
    }
    for (size_t i = 0; i < 3; i++) {
      ASSERT_EQ(f.link.never_sent(ends[i]), taken < ends[i]) << taken;
      const uint8_t* queued = f.link.queued_frame(ends[i], bytes[i].size());
      const bool whole = taken <= ends[i] - bytes[i].size();
      ASSERT_EQ(queued != nullptr, whole) << taken << " " << i;
      if (!whole) continue;
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(queued), bytes[i].size()), bytes[i]);
    }
    EXPECT_EQ(f.link.queued_frame(5, 10), nullptr);
    EXPECT_EQ(f.link.queued_frame(ends[2] + 1, 10), nullptr);
  }
}

TEST(StreamLinkWrite, AFailedWriteKeepsTheFramesThatNeverLeft) {
  StreamFixture f;
  f.channel->write_error = EPIPE;
  OwnedFrame frame(frame_of(1, 10));
  ASSERT_TRUE(f.link.append(frame.frame, false));
  EXPECT_FALSE(f.link.flush());
  EXPECT_NE(f.link.reason.find("writing failed"), std::string::npos);
  const uint8_t* queued = f.link.queued_frame(f.link.end_position(), frame.bytes().size());
  ASSERT_NE(queued, nullptr);
  EXPECT_NE(queued, frame.frame.head) << "a copy";
  EXPECT_TRUE(f.link.never_sent(f.link.end_position()));
  EXPECT_FALSE(f.link.flush()) << "and again when it is queued";
}

TEST(StreamLinkWrite, RandomWritesAgreeWithTheBytesAppended) {
  std::mt19937 random(3);
  for (int run = 0; run < 50; run++) {
    StreamFixture f(20'000);
    f.channel->room_per_write = [&]() -> size_t { return random() % 3 == 0 ? 0 : random() % 4000; };
    std::string expected;
    for (uint64_t id = 0; id < 300; id++) {
      OwnedFrame frame(frame_of(id, random() % 1000, random() % 50), random() % 2);
      if (f.link.append(frame.frame, random() % 10 == 0)) expected += frame.bytes();
      ASSERT_TRUE(f.link.flush());
      ASSERT_LE(f.link.outbound_bytes(), 40'000u);
      ASSERT_EQ(f.channel->out.size() + f.link.outbound_bytes(), expected.size());
    }
    while (f.link.wants_writable()) ASSERT_TRUE(f.link.on_writable());
    ASSERT_EQ(f.channel->out, expected);
  }
}

TEST(StreamLinkSockets, TwoLinksOverASocketPair) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  TurnArena arena(1 << 20);
  StreamLink a(LinkKind::kUnix, LinkRole::kPeer, std::make_unique<PlainChannel>(UniqueFd(fds[0])), &arena, 64 << 20);
  StreamLink b(LinkKind::kUnix, LinkRole::kPeer, std::make_unique<PlainChannel>(UniqueFd(fds[1])), &arena, 64 << 20);
  a.state = b.state = LinkState::kOpen;
  KeepingSink sink;
  std::vector<std::string> expected;
  for (uint64_t id = 0; id < 200; id++) {
    OwnedFrame frame(frame_of(id, (id * 7919) % kMaxFrameBodyBytes), id % 2);
    expected.push_back(frame.bytes());
    ASSERT_TRUE(a.append(frame.frame, false));
    ASSERT_TRUE(a.flush());
  }
  EXPECT_TRUE(a.wants_writable()) << "more than a socket takes";
  while (sink.frames.size() < expected.size()) {
    const size_t before = sink.frames.size();
    ASSERT_NE(b.read(&sink, kStreamBudget), ReadResult::kViolation);
    arena.reset();
    ASSERT_TRUE(a.on_writable());
    ASSERT_TRUE(sink.frames.size() > before || a.wants_writable() || b.partial_bytes() > 0);
  }
  EXPECT_EQ(sink.frames, expected);
}

}  // namespace
}  // namespace ringside
