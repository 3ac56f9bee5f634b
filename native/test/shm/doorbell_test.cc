// Doorbells wake, never block, and cannot be lost by ringing too often.
#include "native/shm/doorbell.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <csignal>
#include <limits>

namespace ringside {
namespace {

AgentDoorbells must_create() {
  Result<AgentDoorbells> made = AgentDoorbells::create();
  EXPECT_TRUE(made.ok());
  return made.take();
}

TEST(Doorbell, AllDescriptorsAreNonBlockingAndCloseOnExec) {
  const AgentDoorbells bells = must_create();
  for (const int fd : {bells.eventfd.get(), bells.pipe_read.get(), bells.pipe_write.get()}) {
    EXPECT_TRUE(::fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
}

// The agent never reads the eventfd: each ring must be an edge of its own.
TEST(Doorbell, EveryRingOfAnUnreadEventfdIsAnEdge) {
  const AgentDoorbells bells = must_create();
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event interest{};
  interest.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, bells.eventfd.get(), &interest), 0);
  epoll_event event{};
  EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(ring_eventfd(bells.eventfd.get()));
    EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 1) << i;
    EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 0) << i;
  }
}

TEST(Doorbell, AFullEventfdIsAlreadyRung) {
  const AgentDoorbells bells = must_create();
  const uint64_t most = std::numeric_limits<uint64_t>::max() - 1;
  ASSERT_EQ(::write(bells.eventfd.get(), &most, sizeof most), static_cast<ssize_t>(sizeof most));
  EXPECT_TRUE(ring_eventfd(bells.eventfd.get()));
}

TEST(Doorbell, AFullPipeIsAlreadyRung) {
  const AgentDoorbells bells = must_create();
  const char bytes[4096] = {};
  while (::write(bells.pipe_write.get(), bytes, sizeof bytes) > 0) {
  }
  while (::write(bells.pipe_write.get(), bytes, 1) > 0) {
  }
  EXPECT_TRUE(ring_pipe(bells.pipe_write.get()));
}

TEST(Doorbell, APipeWithoutReaderIsReported) {
  std::signal(SIGPIPE, SIG_IGN);
  AgentDoorbells bells = must_create();
  bells.pipe_read.reset();
  EXPECT_FALSE(ring_pipe(bells.pipe_write.get()));
  EXPECT_FALSE(ring_eventfd(-1));
}

}  // namespace
}  // namespace ringside
