// A file descriptor with exactly one owner. Every descriptor of the native core lives in one of these from the
// call that made it, so that no error path leaks one: a leaked descriptor of a segment keeps its memory charged.
#pragma once

#include <unistd.h>

#include <utility>

namespace ringside {

/// Owns a file descriptor and closes it when it goes out of scope. Move-only.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  /// Gives the descriptor away without closing it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  /// Closes what is owned and owns `fd` instead. A failing close() is not retried: Linux has freed the number.
  void reset(int fd = -1) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0 && old != fd) ::close(old);
  }

 private:
  int fd_ = -1;
};

}  // namespace ringside
