// Descriptors arrive complete and close-on-exec, or not at all; whatever the peer does, none is leaked.
#include "native/fd/scm_rights.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "native/test/fd/open_fds.h"

namespace ringside {
namespace {

using testing::open_fds;

class ScmRights : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    a_.reset(ends[0]);
    b_.reset(ends[1]);
    null_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }

  // What a hostile peer can do that send_with_fds() does not: any number up to the kernel's 253, or two messages at once.
  void send_raw(size_t fd_count) {
    std::vector<int> fds(fd_count, null_.get());
    std::vector<char> control(CMSG_SPACE(sizeof(int) * fd_count));
    char byte = 'x';
    iovec iov{&byte, 1};
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.data();
    msg.msg_controllen = control.size();
    cmsghdr* cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    std::memcpy(CMSG_DATA(cmsg), fds.data(), sizeof(int) * fd_count);
    ASSERT_EQ(::sendmsg(a_.get(), &msg, MSG_NOSIGNAL), 1);
  }

  UniqueFd a_;
  UniqueFd b_;
  UniqueFd null_;
  ReceivedFds got_;
  char bytes_[64] = {};
};

TEST_F(ScmRights, BytesAndDescriptorsArriveInOrder) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const int fds[2] = {read_end.get(), write_end.get()};
  ASSERT_EQ(send_with_fds(a_.get(), "abc", 3, fds, 2), 3);
  ASSERT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), 3);
  EXPECT_EQ(std::memcmp(bytes_, "abc", 3), 0);
  ASSERT_EQ(got_.count, 2u);
  EXPECT_FALSE(got_.truncated);
  // The second of those received writes into the first.
  ASSERT_EQ(::write(got_.fds[1].get(), "z", 1), 1);
  char c = 0;
  ASSERT_EQ(::read(got_.fds[0].get(), &c, 1), 1);
  EXPECT_EQ(c, 'z');
  EXPECT_TRUE(::fcntl(got_.fds[0].get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(::fcntl(got_.fds[1].get(), F_GETFD) & FD_CLOEXEC);
}

TEST_F(ScmRights, AFullMessageArrivesWhole) {
  const std::vector<int> fds(kMaxFdsPerMessage, null_.get());
  const size_t before = open_fds();
  ASSERT_EQ(send_with_fds(a_.get(), "x", 1, fds.data(), fds.size()), 1);
  ASSERT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), 1);
  EXPECT_EQ(got_.count, kMaxFdsPerMessage);
  EXPECT_EQ(open_fds(), before + kMaxFdsPerMessage);
  got_.drop_from(3);
  EXPECT_EQ(got_.count, 3u);
  EXPECT_EQ(open_fds(), before + 3);
}

TEST_F(ScmRights, MoreThanFitIsTruncatedAndLeaksNothing) {
  send_raw(253);
  const size_t before = open_fds();
  ASSERT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), 1);
  EXPECT_TRUE(got_.truncated);
  EXPECT_EQ(got_.count, 0u);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ScmRights, NoFreeDescriptorNumberIsTruncatedAndLeaksNothing) {
  send_raw(8);
  const size_t before = open_fds();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const int next_free = ::dup(null_.get());
  ::close(next_free);
  const rlimit tight{static_cast<rlim_t>(next_free) + 3, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const ssize_t n = recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(n, 1);
  EXPECT_TRUE(got_.truncated);
  EXPECT_EQ(got_.count, 0u);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ScmRights, ReceivingAgainClosesWhatWasNotTaken) {
  const size_t before = open_fds();
  send_raw(5);
  ASSERT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), 1);
  EXPECT_EQ(open_fds(), before + 5);
  ASSERT_EQ(send_with_fds(a_.get(), "y", 1, nullptr, 0), 1);
  ASSERT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), 1);
  EXPECT_EQ(got_.count, 0u);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ScmRights, NeverBlocksAndNeverSignals) {
  errno = 0;
  EXPECT_EQ(recv_with_fds(b_.get(), bytes_, sizeof bytes_, &got_), -1);
  EXPECT_EQ(errno, EAGAIN);
  b_.reset();
  errno = 0;
  EXPECT_EQ(send_with_fds(a_.get(), "x", 1, nullptr, 0), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(ScmRights, RefusesWhatCannotWork) {
  const std::vector<int> fds(kMaxFdsPerMessage + 1, null_.get());
  errno = 0;
  EXPECT_EQ(send_with_fds(a_.get(), "x", 1, fds.data(), fds.size()), -1);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(send_with_fds(a_.get(), "x", 0, fds.data(), 1), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace ringside
