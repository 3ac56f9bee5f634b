// Descriptors that an engine keeps so that it can be replaced when the process has used up all others: its successor may have more. Lent when
// the successor's connection cannot be accepted otherwise; until they are taken back nobody else is accepted. Used by one worker.
#pragma once

#include <sys/epoll.h>

#include <array>

#include "native/fd/unique_fd.h"

namespace ringside {

class DescriptorReserve {
 public:
  DescriptorReserve() { take_back(); }

  bool lent() const { return lent_; }
  /// Closes them, so that as many can be opened.
  void lend() {
    lent_ = true;
    for (UniqueFd& held : held_) held.reset();
  }
  /// Opens what is missing; where the kernel has none it is tried again the next time.
  void take_back() {
    lent_ = false;
    for (UniqueFd& held : held_) {
      if (!held.valid()) held.reset(::epoll_create1(EPOLL_CLOEXEC));
    }
  }

 private:
  // The connection, one memfd at a time, the poller in place of the one that was handed over; and one for whoever is faster.
  static constexpr size_t kDescriptors = 4;
  std::array<UniqueFd, kDescriptors> held_;
  bool lent_ = false;
};

}  // namespace ringside
