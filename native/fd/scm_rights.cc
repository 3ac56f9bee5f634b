// See scm_rights.h.
#include "native/fd/scm_rights.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace ringside {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage);

// Takes ownership of every descriptor of one control message; those beyond the array are closed at once.
void take_fds(const cmsghdr* cmsg, ReceivedFds* out) {
  const size_t payload = cmsg->cmsg_len - CMSG_LEN(0);
  const size_t n = payload / sizeof(int);
  const unsigned char* data = CMSG_DATA(cmsg);
  for (size_t i = 0; i < n; ++i) {
    int fd = -1;
    std::memcpy(&fd, data + i * sizeof(int), sizeof fd);
    UniqueFd owned(fd);
    if (out->count < kMaxFdsPerMessage) {
      out->fds[out->count++] = std::move(owned);
    } else {
      out->truncated = true;
    }
  }
}

}  // namespace

void ReceivedFds::drop_from(size_t first) {
  while (count > first) fds[--count].reset();
}

ssize_t send_with_fds(int sock, const void* bytes, size_t n, const int* fds, size_t fd_count) {
  if (fd_count > kMaxFdsPerMessage || (fd_count > 0 && n == 0)) {
    errno = EINVAL;
    return -1;
  }
  iovec iov{const_cast<void*>(bytes), n};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  alignas(cmsghdr) unsigned char control[kControlBytes];
  if (fd_count > 0) {
    const size_t fd_bytes = sizeof(int) * fd_count;
    std::memset(control, 0, CMSG_SPACE(fd_bytes));
    msg.msg_control = control;
    msg.msg_controllen = CMSG_SPACE(fd_bytes);
    cmsghdr* cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(fd_bytes);
    std::memcpy(CMSG_DATA(cmsg), fds, fd_bytes);
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t recv_with_fds(int sock, void* bytes, size_t n, ReceivedFds* out) {
  out->drop_from(0);
  out->truncated = false;
  iovec iov{bytes, n};
  alignas(cmsghdr) unsigned char control[kControlBytes];
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  ssize_t got;
  do {
    msg.msg_control = control;
    msg.msg_controllen = sizeof control;
    got = ::recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return got;

  for (cmsghdr* cmsg = CMSG_FIRSTHDR(&msg); cmsg != nullptr; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
    if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) take_fds(cmsg, out);
  }
  if ((msg.msg_flags & MSG_CTRUNC) != 0) out->truncated = true;
  if (out->truncated) out->drop_from(0);
  return got;
}

}  // namespace ringside
