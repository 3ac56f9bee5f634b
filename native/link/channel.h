// The bytes under a link: a socket today, TLS over one later. A link never calls readv or writev itself. Errors come
// back as -1 with errno, as from the system calls.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "native/fd/unique_fd.h"

namespace ringside {

class Channel {
 public:
  virtual ~Channel() = default;
  virtual ssize_t read(uint8_t* p, size_t n) = 0;
  virtual ssize_t write(const iovec* parts, int count) = 0;
  virtual int fd() const = 0;
  virtual UniqueFd release_fd() = 0;
};

class PlainChannel final : public Channel {
 public:
  explicit PlainChannel(UniqueFd fd) : fd_(std::move(fd)) {}
  ssize_t read(uint8_t* p, size_t n) override {
    ssize_t got;
    do {
      got = ::recv(fd_.get(), p, n, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
  }
  ssize_t write(const iovec* parts, int count) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<size_t>(count);
    ssize_t put;
    do {
      put = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (put < 0 && errno == EINTR);
    return put;
  }
  int fd() const override { return fd_.get(); }
  UniqueFd release_fd() override { return std::move(fd_); }

 private:
  UniqueFd fd_;
};

}  // namespace ringside
