// The other way round: an agent that lies in its handshake and scribbles over the rings while an app uses them. Whatever it does, the app's
// end hands out whole valid frames only, does a bounded amount of work, and closes with a reason or goes on; nothing leaks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/eventfd.h>

#include <cstdio>
#include <map>
#include <memory>

#include "native/app/app_link.h"
#include "native/test/app/fake_agent.h"
#include "native/test/fd/open_fds.h"
#include "native/test/hostile/live_heap.h"
#include "native/test/hostile/random_source.h"

namespace ringside {
namespace {

using testing::Bytes;
using testing::FakeAgent;
using testing::RandomSource;
using State = AppLink::State;

constexpr uint64_t kRounds = 2000;

class HostileAgent : public ::testing::Test {
 protected:
  HostileAgent() : random_(testing::number_from("RINGSIDE_HOSTILE_SEED", 20)), slab_(4 * kMaxFrameBytes) {}

  void connect() {
    link_ = std::make_unique<AppLink>();
    const Bytes hello = testing::make_hello(kMinRingBytes);
    link_->start(agent_.path(), hello.data(), hello.size());
    link_->on_socket();
    agent_.accept();
    agent_.receive();
  }
  std::string where(uint64_t round) const { return "round " + std::to_string(round) + ", " + did_; }

  /// What an app does all day. Returns whether the link is still there.
  void use_link(uint64_t round) {
    link_->on_socket();
    link_->on_doorbell();
    const size_t filled = link_->drain(slab_.data(), slab_.size());
    for (size_t at = 0; at < filled;) {
      FixedPart fixed;
      const char* reason = nullptr;
      ASSERT_EQ(split_frame(slab_.data() + at, filled - at, &fixed, &reason), Split::kFrame) << where(round);
      at += frame_bytes(fixed);
    }
    size_t taken = 0;
    const Bytes frame = testing::make_request(round, random_.below(60'000));
    link_->write(frame.data(), frame.size(), &taken);
    ASSERT_TRUE(taken == 0 || taken == frame.size());
    link_->space_returned();
    link_->arm();
  }

  void lie_in_handshake() {
    agent_.make_rings(kMinRingBytes);
    UniqueFd other(::eventfd(0, random_.one_in(2) ? EFD_NONBLOCK : 0));
    std::vector<int> fds = agent_.ring_fds();
    if (random_.one_in(2)) fds[random_.below(3)] = random_.one_in(2) ? other.get() : agent_.socket.get();
    if (random_.one_in(4)) std::swap(fds[0], fds[random_.below(3)]);
    if (random_.one_in(4)) fds.resize(random_.below(4));
    if (random_.one_in(8)) fds.insert(fds.end(), 40, other.get());
    Bytes welcome = testing::make_welcome(random_.one_in(4) ? static_cast<uint8_t>(random_.below(17)) : 0,
                                          random_.one_in(2) ? kMinRingBytes : static_cast<uint32_t>(random_.edge()));
    if (random_.one_in(3)) welcome[random_.below(welcome.size())] = static_cast<uint8_t>(random_.next());
    if (random_.one_in(4)) store_u64(agent_.segment.control(0) - shm::kSegmentHeaderBytes + 8 * random_.below(4), random_.edge());
    const size_t first = 1 + random_.below(welcome.size());
    agent_.send(Bytes(welcome.begin(), welcome.begin() + static_cast<ptrdiff_t>(first)), fds);
    link_->on_socket();
    // The app may have hung up by now.
    const ssize_t ignored = send_with_fds(agent_.socket.get(), welcome.data() + first - 1 + (first < welcome.size() ? 1 : 0),
                                          std::max<size_t>(welcome.size() - first, 1), fds.data(), random_.one_in(8) ? fds.size() : 0);
    (void)ignored;
  }

  void open_honestly() {
    agent_.make_rings(kMinRingBytes);
    agent_.send(testing::make_welcome(0, kMinRingBytes), agent_.ring_fds());
    link_->on_socket();
    ASSERT_EQ(link_->state(), State::kOpen) << link_->reason();
  }

  void misbehave() {
    constexpr size_t kIndices[] = {shm::kHeadAt, shm::kTailAt, shm::kConsumerWaitingAt, shm::kSpaceWantedAt};
    switch (random_.below(8)) {
      case 0: {
        did_ = "index";
        uint8_t* at = agent_.segment.control(static_cast<int>(random_.below(2))) + kIndices[random_.below(4)];
        store_u64(at, random_.one_in(2) ? random_.edge() : load_u64(at) + 8 * random_.below(32));
        break;
      }
      case 1: {
        did_ = "bytes";
        uint8_t* data = agent_.segment.data(static_cast<int>(random_.below(2)));
        const uint64_t from = random_.below(kMinRingBytes - 4096);
        for (uint64_t i = 0; i < 4096; i++) data[from + i] = static_cast<uint8_t>(random_.next());
        break;
      }
      case 2: {
        did_ = "record";
        Bytes record = testing::make_frame(static_cast<FrameType>(random_.below(14)), static_cast<uint8_t>(random_.below(18)), 0,
                                           random_.below(100), random_.below(3000));
        if (random_.one_in(2)) record[random_.below(record.size())] = static_cast<uint8_t>(random_.next());
        if (random_.one_in(4)) record.resize(random_.below(record.size()) + 1);
        uint8_t* place = agent_.to_app.reserve(static_cast<uint32_t>(record.size()));
        if (place == nullptr) break;
        std::copy(record.begin(), record.end(), place);
        agent_.to_app.commit();
        agent_.to_app.publish();
        break;
      }
      case 3: {
        did_ = "hole";
        ::fallocate(agent_.segment.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    static_cast<off_t>(4096 * (1 + random_.below(20))));
        break;
      }
      case 4: {
        did_ = "doorbell flood";
        const Bytes noise(4096);
        while (::write(agent_.bells.pipe_write.get(), noise.data(), noise.size()) > 0) {
        }
        const uint64_t full = ~uint64_t{0} - 1;
        const ssize_t ignored = ::write(agent_.bells.eventfd.get(), &full, sizeof full);
        (void)ignored;
        break;
      }
      case 5:
        did_ = "frames";
        for (uint64_t i = random_.below(20); i > 0 && agent_.to_app.reserve(2000) != nullptr; i--) {
          agent_.put(testing::make_frame(FrameType::kResponse, 0, 0, 0, 1000, random_.edge()));
        }
        break;
      case 6:
        did_ = "read";
        agent_.take_all();
        break;
      default:
        did_ = "socket";
        if (random_.one_in(6)) agent_.socket.reset();
        if (random_.one_in(6)) agent_.bells.pipe_write.reset();
        break;
    }
  }

  RandomSource random_;
  FakeAgent agent_;
  std::unique_ptr<AppLink> link_;
  std::vector<uint8_t> slab_;
  std::string did_;
};

TEST_F(HostileAgent, LiesInTheHandshakeAreNoticedAndLeakNothing) {
  const size_t fds = testing::open_fds();
  std::map<std::string, uint64_t> reasons;
  for (uint64_t round = 0; round < kRounds; round++) {
    connect();
    lie_in_handshake();
    link_->on_socket();
    link_->on_socket();
    if (link_->state() == State::kOpen) use_link(round);
    if (link_->state() == State::kClosed) {
      ASSERT_FALSE(link_->reason().empty());
      reasons[link_->reason()]++;
    }
    ASSERT_FALSE(HasFatalFailure());
    link_.reset();
    agent_.socket.reset();
  }
  agent_.segment = Segment();
  agent_.bells = AgentDoorbells();
  EXPECT_EQ(testing::open_fds(), fds);
  EXPECT_GT(reasons.size(), 6u);
}

TEST_F(HostileAgent, ScribblingOverRingsClosesTheLinkOrHarmsNobody) {
  const size_t heap = testing::live_heap_bytes();
  uint64_t closed = 0;
  for (uint64_t round = 0; round < kRounds; round++) {
    if (link_ == nullptr) {
      connect();
      open_honestly();
    }
    const uint64_t n = 1 + random_.below(3);
    for (uint64_t i = 0; i < n; i++) misbehave();
    for (int i = 0; i < 3; i++) use_link(round);
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_LE(testing::live_heap_bytes(), heap + (1 << 20)) << where(round);
    if (link_->state() != State::kClosed) continue;
    ASSERT_FALSE(link_->reason().empty()) << where(round);
    closed++;
    link_.reset();
    agent_.socket.reset();
  }
  EXPECT_GT(closed, kRounds / 20);
  std::printf("%llu links closed in %llu rounds\n", static_cast<unsigned long long>(closed), static_cast<unsigned long long>(kRounds));
}

}  // namespace
}  // namespace ringside
