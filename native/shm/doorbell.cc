// See doorbell.h.
#include "native/shm/doorbell.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "native/base/errno_text.h"

namespace ringside {
namespace {

bool write_hint(int fd, const void* bytes, size_t n) {
  ssize_t written;
  do {
    written = ::write(fd, bytes, n);
  } while (written < 0 && errno == EINTR);
  return written >= 0 || errno == EAGAIN;
}

}  // namespace

Result<AgentDoorbells> AgentDoorbells::create() {
  AgentDoorbells bells;
  bells.eventfd.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  int ends[2] = {-1, -1};
  if (bells.eventfd.valid() && ::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0) {
    bells.pipe_read.reset(ends[0]);
    bells.pipe_write.reset(ends[1]);
    return bells;
  }
  return Error{Code::kResourceExhausted, std::string("cannot make doorbells: ") + errno_text(errno)};
}

bool ring_eventfd(int fd) {
  const uint64_t one = 1;
  return write_hint(fd, &one, sizeof one);
}

bool ring_pipe(int fd) {
  const uint8_t byte = 1;
  return write_hint(fd, &byte, 1);
}

}  // namespace ringside
