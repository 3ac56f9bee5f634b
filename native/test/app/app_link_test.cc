// An open link: frames both ways, a full ring and room again, sleeping and waking, an agent that dies, and one whose
// ring is hostile.
#include "native/app/app_link.h"

#include <gtest/gtest.h>

#include <memory>

#include "native/base/bytes.h"
#include "native/test/app/fake_agent.h"
#include "native/test/fd/open_fds.h"

namespace ringside {
namespace {

using testing::Bytes;
using testing::FakeAgent;
using testing::is_readable;
using testing::make_request;
using State = AppLink::State;
using Written = AppLink::Written;

constexpr uint32_t kRingBytes = kMinRingBytes;
constexpr size_t kSlab = 256 * 1024;

class OpenAppLink : public ::testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    link_holder_ = std::make_unique<AppLink>();
    const Bytes hello = testing::make_hello(kRingBytes);
    link().start(agent_.path(), hello.data(), hello.size());
    link().on_socket();
    agent_.accept();
    agent_.make_rings(kRingBytes);
    agent_.send(testing::make_welcome(0, kRingBytes), agent_.ring_fds());
    agent_.bells.pipe_read.reset();
    link().on_socket();
    ASSERT_EQ(link().state(), State::kOpen) << link().reason();
    slab_.resize(kSlab);
  }

  AppLink& link() { return *link_holder_; }
  Written write(const Bytes& bytes) { return link().write(bytes.data(), bytes.size(), &taken_); }
  Bytes drain() {
    const size_t n = link().drain(slab_.data(), slab_.size());
    return Bytes(slab_.begin(), slab_.begin() + static_cast<ptrdiff_t>(n));
  }
  // What a woken owner does.
  Bytes wake() {
    link().on_doorbell();
    return drain();
  }

  FakeAgent agent_;
  std::unique_ptr<AppLink> link_holder_;
  Bytes slab_;
  size_t taken_ = 0;
};

Bytes joined(const std::vector<Bytes>& frames) {
  Bytes out;
  for (const Bytes& frame : frames) out.insert(out.end(), frame.begin(), frame.end());
  return out;
}

TEST_F(OpenAppLink, ABatchBecomesOneRecordPerFrame) {
  const std::vector<Bytes> frames = {make_request(1, 0), make_request(2, 100), make_request(3, kMaxFrameBodyBytes)};
  const Bytes batch = joined(frames);
  EXPECT_EQ(write(batch), Written::kAll);
  EXPECT_EQ(taken_, batch.size());
  EXPECT_EQ(agent_.take_all(), frames);
  EXPECT_FALSE(is_readable(agent_.bells.eventfd.get())) << "the agent was awake";
}

TEST_F(OpenAppLink, ASleepingAgentIsRungOncePerBatch) {
  ASSERT_TRUE(agent_.from_app.arm_waiting());
  EXPECT_EQ(write(joined({make_request(1, 10), make_request(2, 10)})), Written::kAll);
  uint64_t rings = 0;
  ASSERT_EQ(::read(agent_.bells.eventfd.get(), &rings, sizeof rings), static_cast<ssize_t>(sizeof rings));
  EXPECT_EQ(rings, 1u);
  write(make_request(3, 10));
  EXPECT_FALSE(is_readable(agent_.bells.eventfd.get()));
}

TEST_F(OpenAppLink, MalformedBatchesSendNothing) {
  Bytes wrong_magic = make_request(2, 10);
  wrong_magic[0] = 0;
  Bytes cut = make_request(2, 10);
  cut.pop_back();
  Bytes oversized = make_request(2, 10);
  patch_body_bytes(oversized.data(), kMaxFrameBodyBytes + 1);
  for (const Bytes& bad : {wrong_magic, cut, oversized, Bytes(1, 0xF5), testing::make_hello(0)}) {
    EXPECT_EQ(write(joined({make_request(1, 10), bad})), Written::kMalformed);
    EXPECT_EQ(taken_, 0u);
  }
  EXPECT_TRUE(agent_.take_all().empty());
  EXPECT_EQ(write(make_request(1, 10)), Written::kAll) << "the link lives on";
}

TEST_F(OpenAppLink, AFullRingTakesWholeFramesAndTellsWhenThereIsRoom) {
  Bytes batch;
  for (uint64_t i = 0; i < 20; ++i) {
    const Bytes frame = make_request(i, 60'000);
    batch.insert(batch.end(), frame.begin(), frame.end());
  }
  EXPECT_EQ(write(batch), Written::kSome);
  EXPECT_GT(taken_, 0u);
  EXPECT_EQ(taken_ % make_request(0, 60'000).size(), 0u);
  EXPECT_FALSE(link().space_returned());
  ASSERT_EQ(link().arm(), AppLink::Sleep::kYes);
  EXPECT_FALSE(is_readable(link().doorbell_fd()));
  const size_t taken_frames = agent_.take_all().size();
  EXPECT_EQ(taken_frames, taken_ / make_request(0, 60'000).size());
  EXPECT_TRUE(is_readable(link().doorbell_fd())) << "the same doorbell tells of room";
  EXPECT_TRUE(wake().empty());
  EXPECT_TRUE(link().space_returned());
  EXPECT_FALSE(link().space_returned()) << "once";
  batch.erase(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(taken_));
  EXPECT_NE(write(batch), Written::kMalformed);
  EXPECT_GT(taken_, 0u);
}

TEST_F(OpenAppLink, AFrameInTwoPiecesIsOneRecordAndWakesTheAgent) {
  const Bytes frame = make_request(7, kMaxFrameBodyBytes);
  const size_t prefix = frame.size() - kMaxFrameBodyBytes;
  ASSERT_TRUE(agent_.from_app.arm_waiting());
  EXPECT_EQ(link().write_frame(frame.data(), prefix, frame.data() + prefix, kMaxFrameBodyBytes), Written::kAll);
  EXPECT_TRUE(is_readable(agent_.bells.eventfd.get()));
  EXPECT_EQ(agent_.take_all(), std::vector<Bytes>{frame});
  const Bytes empty = make_request(8, 0);
  EXPECT_EQ(link().write_frame(empty.data(), empty.size(), nullptr, 0), Written::kAll);
  EXPECT_EQ(agent_.take_all(), std::vector<Bytes>{empty});
}

TEST_F(OpenAppLink, PiecesThatAreNoFrameSendNothing) {
  const Bytes frame = make_request(7, 100);
  const Bytes hello = testing::make_hello(0);
  const size_t prefix = frame.size() - 100;
  const uint8_t* const body = frame.data() + prefix;
  EXPECT_EQ(link().write_frame(frame.data(), prefix, body, 99), Written::kMalformed);
  EXPECT_EQ(link().write_frame(frame.data(), prefix - 1, body, 100), Written::kMalformed);
  EXPECT_EQ(link().write_frame(frame.data(), 0, body, 100), Written::kMalformed);
  EXPECT_EQ(link().write_frame(hello.data(), hello.size(), nullptr, 0), Written::kMalformed);
  EXPECT_TRUE(agent_.take_all().empty());
  EXPECT_EQ(link().write_frame(frame.data(), prefix, body, 100), Written::kAll) << "the link lives on";
}

TEST_F(OpenAppLink, AFullRingHasNoRoomAndTellsWhenItHas) {
  const Bytes frame = make_request(1, 60'000);
  const size_t prefix = frame.size() - 60'000;
  size_t sent = 0;
  while (link().has_room()) {
    ASSERT_EQ(link().write_frame(frame.data(), prefix, frame.data() + prefix, 60'000), Written::kAll);
    sent++;
  }
  EXPECT_GE(sent, kRingBytes / frame.size() / 2);
  EXPECT_FALSE(link().space_returned());
  EXPECT_EQ(agent_.take_all().size(), sent);
  EXPECT_TRUE(is_readable(link().doorbell_fd()));
  EXPECT_TRUE(link().space_returned());
  EXPECT_TRUE(link().has_room());
  link().close("closed by the application");
  EXPECT_FALSE(link().has_room());
  EXPECT_EQ(link().write_frame(frame.data(), prefix, frame.data() + prefix, 60'000), Written::kSome);
}

TEST_F(OpenAppLink, FramesArriveBackToBack) {
  ASSERT_EQ(link().arm(), AppLink::Sleep::kYes);
  EXPECT_TRUE(agent_.put(make_request(1, 5)));
  EXPECT_FALSE(agent_.put(make_request(2, 500)));
  EXPECT_TRUE(is_readable(link().doorbell_fd()));
  EXPECT_EQ(wake(), joined({make_request(1, 5), make_request(2, 500)}));
  EXPECT_FALSE(is_readable(link().doorbell_fd()));
  EXPECT_EQ(agent_.to_app.used_bytes(), 0u) << "released";
  EXPECT_EQ(link().arm(), AppLink::Sleep::kYes);
}

TEST_F(OpenAppLink, ArmingSeesWhatCameMeanwhile) {
  agent_.put(make_request(1, 5));
  EXPECT_EQ(link().arm(), AppLink::Sleep::kMore);
  EXPECT_FALSE(agent_.put(make_request(2, 5))) << "disarmed while it goes on reading";
  EXPECT_EQ(drain(), joined({make_request(1, 5), make_request(2, 5)}));
}

TEST_F(OpenAppLink, ADrainIsBoundedByTheSlab) {
  agent_.put(make_request(1, 60'000));
  agent_.put(make_request(2, 60'000));
  std::vector<uint8_t> small(kMaxFrameBytes);
  EXPECT_EQ(link().drain(small.data(), small.size()), make_request(1, 60'000).size());
  EXPECT_EQ(link().drain(small.data(), kMaxFrameBytes - 1), 0u) << "never begins what might not fit";
  EXPECT_EQ(link().state(), State::kOpen);
  EXPECT_EQ(link().arm(), AppLink::Sleep::kMore);
  EXPECT_EQ(drain(), make_request(2, 60'000));
}

TEST_F(OpenAppLink, ADrainWakesAnAgentThatWaitsForRoom) {
  const Bytes frame = make_request(1, 60'000);
  while (agent_.to_app.reserve(static_cast<uint32_t>(frame.size())) != nullptr) agent_.put(frame);
  ASSERT_TRUE(agent_.to_app.arm_space_wanted(static_cast<uint32_t>(frame.size())));
  EXPECT_FALSE(is_readable(agent_.bells.eventfd.get()));
  EXPECT_FALSE(drain().empty());
  EXPECT_TRUE(is_readable(agent_.bells.eventfd.get()));
}

TEST_F(OpenAppLink, WhatADyingAgentPublishedIsDelivered) {
  for (uint64_t i = 0; i < 3; ++i) agent_.put(make_request(i, 60'000));
  agent_.socket.reset();
  link().on_socket();
  EXPECT_EQ(link().state(), State::kDraining);
  EXPECT_EQ(write(make_request(9, 1)), Written::kSome);
  EXPECT_EQ(taken_, 0u);
  EXPECT_EQ(link().arm(), AppLink::Sleep::kMore) << "no doorbell will come";
  std::vector<uint8_t> small(kMaxFrameBytes);
  EXPECT_GT(link().drain(small.data(), small.size()), 0u);
  EXPECT_EQ(link().state(), State::kDraining);
  agent_.put(make_request(7, 1));
  EXPECT_EQ(drain(), joined({make_request(1, 60'000), make_request(2, 60'000)})) << "no more than there was";
  EXPECT_EQ(link().state(), State::kClosed);
  EXPECT_EQ(link().reason(), "the agent hung up");
}

TEST_F(OpenAppLink, ALostDoorbellIsADeath) {
  agent_.bells.pipe_write.reset();
  EXPECT_TRUE(wake().empty());
  EXPECT_EQ(link().state(), State::kClosed);
  EXPECT_EQ(link().reason(), "the agent hung up");
}

TEST_F(OpenAppLink, ADoorbellRungWithoutEndIsReadInBounds) {
  const Bytes noise(4096);
  while (::write(agent_.bells.pipe_write.get(), noise.data(), noise.size()) > 0) {
  }
  EXPECT_TRUE(wake().empty());
  EXPECT_EQ(link().state(), State::kOpen);
}

TEST_F(OpenAppLink, BytesOrDescriptorsOnTheSocketAreAViolation) {
  const size_t before = testing::open_fds();
  agent_.send(Bytes(1, 'x'), {agent_.segment.fd()});
  link().on_socket();
  EXPECT_EQ(link().state(), State::kClosed);
  EXPECT_EQ(link().reason(), "the agent sent bytes on the socket of a ring link");
  EXPECT_EQ(testing::open_fds(), before);
}

TEST_F(OpenAppLink, HostileRecordsCloseTheLinkBehindTheGoodOnes) {
  Bytes wrong_length = make_request(2, 10);
  wrong_length.push_back(0);
  Bytes wrong_magic = make_request(2, 10);
  wrong_magic[1] = 0;
  const Bytes too_large(kMaxFrameBytes + 8, 0);
  for (const Bytes& bad : {wrong_length, wrong_magic, too_large, Bytes{}, Bytes(31, 0), testing::make_welcome(0, 0)}) {
    open();
    agent_.put(make_request(1, 10));
    agent_.put(bad);
    EXPECT_EQ(drain(), make_request(1, 10));
    EXPECT_EQ(link().state(), State::kClosed);
    EXPECT_EQ(link().reason().rfind("ring record is no", 0), 0u) << link().reason();
  }
}

TEST_F(OpenAppLink, HostileIndicesCloseTheLink) {
  store_u64(agent_.segment.control(shm::kAgentToApp) + shm::kHeadAt, 12);
  EXPECT_EQ(link().arm(), AppLink::Sleep::kMore);
  EXPECT_TRUE(drain().empty());
  EXPECT_EQ(link().reason(), "ring head out of range");
}

TEST_F(OpenAppLink, AHostileTailClosesTheLink) {
  Bytes batch;
  for (uint64_t i = 0; i < 5; ++i) {
    const Bytes frame = make_request(i, 65'000);
    batch.insert(batch.end(), frame.begin(), frame.end());
  }
  // Read once the ring seems full.
  store_u64(agent_.segment.control(shm::kAppToAgent) + shm::kTailAt, uint64_t{1} << 40);
  write(batch);
  EXPECT_EQ(link().state(), State::kClosed);
  EXPECT_EQ(link().reason(), "ring tail out of range");
}

TEST_F(OpenAppLink, CloseKeepsTheFirstReasonAndEndsEverything) {
  link().close("first");
  link().close("second");
  EXPECT_EQ(link().reason(), "first");
  EXPECT_EQ(write(make_request(1, 1)), Written::kSome);
  EXPECT_EQ(taken_, 0u);
  EXPECT_EQ(link().drain(slab_.data(), slab_.size()), 0u);
  link().on_socket();
  link().on_doorbell();
  EXPECT_FALSE(link().space_returned());
  EXPECT_EQ(link().state(), State::kClosed);
}

}  // namespace
}  // namespace ringside
